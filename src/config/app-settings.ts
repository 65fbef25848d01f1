import { type Environment, integer, invalid, list, matching } from "./environment.ts";

const APP_NAME = /^[^:\p{Cc}]{1,64}$/u;
const DOMAIN = /^(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*$/;

/** Passkeys work only on https and localhost, and only on pages of their own domain (WebAuthn Level 3 §5.1.3). */
export function app(env: Environment): { name: string; rpId: string; origins: readonly string[] } {
  const name = matching(env, "PLINTH_APP_NAME", "Plinth", APP_NAME, "1 to 64 characters without a colon");
  const rpId = matching(env, "PLINTH_RP_ID", "localhost", DOMAIN, "a domain such as example.com");
  const port = integer(env, "PLINTH_PORT", 5678, 0, 65_535);
  const fallback = rpId === "localhost" ? `http://localhost:${port}` : `https://${rpId}`;
  const origins = list(env, "PLINTH_APP_ORIGINS");
  for (const origin of origins) {
    const url = URL.canParse(origin) ? new URL(origin) : undefined;
    const isOfDomain = url?.hostname === rpId || url?.hostname.endsWith(`.${rpId}`);
    const isSecure = url?.protocol === "https:" || /(^|\.)localhost$/.test(url?.hostname ?? "");
    if (url?.origin !== origin || !isOfDomain || !isSecure)
      throw invalid(
        "PLINTH_APP_ORIGINS",
        origin,
        `origins of ${rpId} or its subdomains, such as https://app.${rpId}, without a path (PLINTH_RP_ID)`,
      );
  }
  return { name, rpId, origins: origins.length > 0 ? origins : [fallback] };
}
