import type { Logger } from "pino";
import type { Application } from "../../application/application.ts";
import type { Config } from "../../config/config.ts";
import type { Metrics } from "../../observability/metrics.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly application?: Application | undefined;
  readonly authenticatorUrl: string;
  readonly serviceUrl: string;
  /** `kid:base64url[,kid:base64url…]`, `kid:es256:base64url`, see parseSigningKeys. */
  readonly signingKeys: string;
  /** `version:base64url[,version:base64url…]`, see parseMasterKeys. */
  readonly masterKeys: string;
  /** Whether a worker delivers SMS; otherwise requests for a code return UNAVAILABLE. */
  readonly canSendSms?: boolean;
  /** Whether pages served from this machine may call the API while no origin is listed. */
  readonly allowLoopbackOrigins?: boolean;
  /** Longest time of a request to a sign-in provider; for tests, because a busy machine may stand still for longer than the default. */
  readonly providerTimeoutSeconds?: number | undefined;
  /** Path below which an application mounts the API, such as `/api`. Empty for its root. */
  readonly prefix?: string | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
}
