import type { AddressInfo } from "node:net";
import type { CheckGroup } from "../../../src/cli/doctor/check.ts";
import { checkOutsideServices } from "../../../src/cli/doctor/outside-services.ts";
import type { Broken, Installation } from "./installation.ts";

const outside: CheckGroup = async ({ config }) => checkOutsideServices(config);

const provider = (at: Installation) =>
  JSON.stringify([
    {
      name: "example",
      issuer: `http://127.0.0.1:${(at.issuer.address() as AddressInfo).port}`,
      clientId: "plinth",
      redirectUris: ["https://app.example.com/callback"],
    },
  ]);

/** Services outside the database. */
export const brokenServices = (at: Installation): readonly Broken[] => [
  {
    title: "a mail server that does not run",
    group: outside,
    check: "mail-server",
    env: () => ({ PLINTH_SMTP_URL: "smtp://127.0.0.1:1" }),
    says: /ECONNECTION|ESOCKET/,
  },
  {
    title: "a wrong password of the mail server",
    group: outside,
    check: "mail-server",
    env: () => ({ PLINTH_SMTP_URL: at.smtp.url.replace("//", "//user:secret-password@") }),
    says: /user and the password/,
  },
  {
    title: "Stripe without its webhook",
    group: outside,
    check: "stripe",
    status: "warn",
    env: () => ({ PLINTH_STRIPE_SECRET_KEY: "sk_test_x" }),
    says: /PLINTH_STRIPE_WEBHOOK_SECRET/,
  },
  {
    title: "Stripe without its key",
    group: outside,
    check: "stripe",
    status: "warn",
    env: () => ({ PLINTH_STRIPE_WEBHOOK_SECRET: "whsec_x" }),
    says: /PLINTH_STRIPE_SECRET_KEY/,
  },
  {
    title: "Stripe that cannot be reached",
    group: outside,
    check: "stripe",
    env: () => ({
      PLINTH_STRIPE_SECRET_KEY: "sk_test_x",
      PLINTH_STRIPE_WEBHOOK_SECRET: "whsec_x",
      PLINTH_STRIPE_API_URL: "http://127.0.0.1:1",
    }),
    says: /StripeConnectionError/,
  },
  {
    title: "a sign-in provider that cannot be reached",
    group: outside,
    check: "provider-example",
    status: "warn",
    env: () => ({ PLINTH_OAUTH_PROVIDERS: provider(at).replace(/127\.0\.0\.1:\d+/, "127.0.0.1:1") }),
    says: /users cannot sign in with it/,
  },
  {
    title: "a sign-in provider with another issuer",
    group: outside,
    check: "provider-example",
    status: "warn",
    env: () => ({ PLINTH_OAUTH_PROVIDERS: provider(at) }),
    says: /names another issuer/,
  },
  {
    title: "a model that cannot be reached",
    group: outside,
    check: "model-endpoint",
    status: "warn",
    env: () => ({ PLINTH_LLM_URL: "http://127.0.0.1:1/v1" }),
    says: /PLINTH_LLM_URL/,
  },
  {
    title: "an embeddings endpoint that cannot be reached",
    group: outside,
    check: "embeddings-endpoint",
    status: "warn",
    env: () => ({ PLINTH_EMBEDDINGS_URL: "http://127.0.0.1:1/v1", PLINTH_EMBEDDINGS_MODEL: "m" }),
    says: /PLINTH_EMBEDDINGS_URL/,
  },
];
