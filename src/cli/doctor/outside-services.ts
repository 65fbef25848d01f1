import { createTransport } from "nodemailer";
import type { Config } from "../../config/config.ts";
import { parseProviders } from "../../oauth/provider-settings.ts";
import { kindOfStripeError, openStripe } from "../../payments/stripe.ts";
import { PlinthError } from "../../support/errors.ts";
import { type Finding, fail, ok, warn } from "./check.ts";

const TIMEOUT_MS = 5_000;

/** Checks whether the services that the settings name answer, without sending or changing anything. */
export async function checkOutsideServices(config: Config): Promise<Finding[]> {
  const findings = await Promise.all([
    checkMailServer(config),
    checkStripe(config),
    ...checkIssuers(config),
    checkEndpoint("model-endpoint", "PLINTH_LLM_URL", config.models.url),
    checkEndpoint("embeddings-endpoint", "PLINTH_EMBEDDINGS_URL", config.embeddings?.url),
  ]);
  return findings.filter((finding) => finding !== undefined);
}

/** Signs in and sends nothing. */
async function checkMailServer({ mail }: Config): Promise<Finding | undefined> {
  if (!mail.smtpUrl) return undefined;
  const check = "mail-server";
  const { host } = new URL(mail.smtpUrl);
  const transport = createTransport({
    url: mail.smtpUrl,
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    dnsTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
  });
  try {
    await transport.verify();
    return ok(check, `The mail server ${host} accepts the sign-in.`);
  } catch (error) {
    const { code, responseCode } = error as { code?: string; responseCode?: number };
    const reason = [code, responseCode].filter(Boolean).join(" ") || "no answer";
    return fail(
      check,
      `The mail server ${host} cannot be used (${reason}).`,
      code === "EAUTH"
        ? "Correct the user and the password in PLINTH_SMTP_URL."
        : "Check the host and the port in PLINTH_SMTP_URL, and the firewall.",
    );
  } finally {
    transport.close();
  }
}

/** Reads the balance, which each secret key may. */
async function checkStripe({ payments }: Config): Promise<Finding | undefined> {
  const check = "stripe";
  const { stripeSecretKey, stripeWebhookSecret, checkoutReturnUrl } = payments;
  if (!stripeSecretKey)
    return stripeWebhookSecret || checkoutReturnUrl
      ? warn(
          check,
          "Settings of Stripe are incomplete: PLINTH_STRIPE_SECRET_KEY is not set, so nothing can be bought.",
          "Set PLINTH_STRIPE_SECRET_KEY and PLINTH_CHECKOUT_RETURN_URL, or none of them.",
        )
      : undefined;
  if (!stripeWebhookSecret)
    return warn(
      check,
      "PLINTH_STRIPE_SECRET_KEY is set without PLINTH_STRIPE_WEBHOOK_SECRET: payments have no effect.",
      "Set PLINTH_STRIPE_WEBHOOK_SECRET to the secret of the endpoint POST /webhooks/stripe.",
    );
  try {
    const stripe = await openStripe(payments, TIMEOUT_MS);
    await stripe!.balance.retrieve({}, { maxNetworkRetries: 0 });
    return ok(check, "Stripe accepts the key.");
  } catch (error) {
    if (error instanceof PlinthError) return fail(check, error.message, error.hint ?? "Install the package.");
    const kind = kindOfStripeError(error);
    return fail(
      check,
      `Stripe cannot be used (${kind}).`,
      /Authentication|Permission/.test(kind)
        ? "Correct PLINTH_STRIPE_SECRET_KEY."
        : "Check the network and PLINTH_STRIPE_API_URL.",
    );
  }
}

/** Invalid settings are reported by the check of the providers. */
function checkIssuers({ auth }: Config): Promise<Finding>[] {
  try {
    return parseProviders(auth.oauthProviders).map(async ({ name, issuer }) => {
      const check = `provider-${name}`;
      const url = `${issuer.href.replace(/\/$/, "")}/.well-known/openid-configuration`;
      const reason = await reasonOfFailure(url, async (response) => {
        if (!response.ok) return `status ${response.status}`;
        const document = (await response.json()) as { issuer?: unknown };
        return document.issuer === issuer.href || document.issuer === issuer.href.replace(/\/$/, "")
          ? undefined
          : "its configuration names another issuer";
      });
      return reason === undefined
        ? ok(check, `The sign-in provider ${name} answers.`)
        : warn(
            check,
            `The sign-in provider ${name} cannot be used (${reason}).`,
            "Check its issuer in PLINTH_OAUTH_PROVIDERS and the network; users cannot sign in with it now.",
          );
    });
  } catch {
    return [];
  }
}

/** Any answer will do: what an endpoint says to a request without a key is its own matter. */
async function checkEndpoint(
  check: string,
  setting: string,
  url: string | undefined,
): Promise<Finding | undefined> {
  if (!url) return undefined;
  const reason = await reasonOfFailure(url, async () => undefined);
  return reason === undefined
    ? ok(check, `The address of ${setting} answers.`)
    : warn(
        check,
        `The address of ${setting} does not answer (${reason}).`,
        `Check ${setting}, and that the server there runs.`,
      );
}

async function reasonOfFailure(
  url: string,
  judge: (response: Response) => Promise<string | undefined>,
): Promise<string | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: "manual" });
    const reason = await judge(response);
    if (!response.bodyUsed) await response.body?.cancel();
    return reason;
  } catch (error) {
    const { name, cause } = error as { name: string; cause?: { code?: string } };
    return cause?.code ?? name;
  }
}
