import type { Config } from "../../config/config.ts";
import { isPlainHttp, parseProviders } from "../../oauth/provider-settings.ts";
import { PlinthError } from "../../support/errors.ts";
import { type Finding, fail, ok, warn } from "./check.ts";

/** Checks whether the sign-in providers in the settings are valid and use TLS. */
export function checkProviders({ auth }: Config): Finding {
  const name = "providers";
  try {
    const providers = parseProviders(auth.oauthProviders);
    const plain = providers.filter(isPlainHttp).map((provider) => provider.name);
    if (plain.length > 0)
      return warn(
        name,
        `These sign-in providers do not use TLS: ${plain.join(", ")}.`,
        "Use https; http is for testing only.",
      );
    return ok(
      name,
      providers.length === 0
        ? "No sign-in provider is configured."
        : `${providers.length} sign-in providers are configured.`,
    );
  } catch (error) {
    if (!(error instanceof PlinthError)) throw error;
    return fail(name, error.message, error.hint ?? "Correct PLINTH_OAUTH_PROVIDERS.");
  }
}
