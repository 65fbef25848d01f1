import type { Config } from "../../config/config.ts";
import { isPlainHttp, parseProviders } from "../../oauth/provider-settings.ts";
import { PlinthError } from "../../support/errors.ts";
import { type Finding, fail, ok, warn } from "./check.ts";

/** Whether the providers of the settings can be read, and are reached safely. */
export function checkProviders({ auth }: Config): Finding {
  const name = "providers";
  try {
    const providers = parseProviders(auth.oauthProviders);
    const plain = providers.filter(isPlainHttp).map((provider) => provider.name);
    if (plain.length > 0)
      return warn(
        name,
        `Reached without TLS: ${plain.join(", ")}.`,
        "Use https; http is for trying things out.",
      );
    return ok(name, providers.length === 0 ? "No other provider is set up." : `${providers.length} set up.`);
  } catch (error) {
    if (!(error instanceof PlinthError)) throw error;
    return fail(name, error.message, error.hint ?? "Correct PLINTH_OAUTH_PROVIDERS.");
  }
}
