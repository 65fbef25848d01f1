import "graphile-build-pg";
import type { Step } from "grafast";
import type { Credentials, SignInResult } from "../src/accounts/sign-in/credentials.ts";
import type { SignIn } from "../src/accounts/sign-in/index.ts";
import { isApiToken } from "../src/auth/api-token.ts";
import type { RequestContext } from "../src/request/context.ts";
import { PlinthError } from "../src/support/errors.ts";
import { mutationField, mutationFieldWithoutInput } from "./mutation-field.ts";

/** The step that the fields of AuthPayload read. */
export type CredentialsStep = Step<Credentials>;
/** The step that the fields of SignInPayload read. */
export type SignInResultStep = Step<SignInResult>;

type Exchange<TInput, TResult> = (signIn: SignIn, input: TInput, request: RequestContext) => Promise<TResult>;

/** A mutation that exchanges its input for credentials. */
export function credentialsField<TInput>(exchange: Exchange<TInput, Credentials>) {
  return mutationField((input: TInput, context) =>
    run(exchange, input, context, (credentials) => credentials),
  );
}

/** A mutation that exchanges its input for credentials or a challenge. */
export function signInField<TInput>(exchange: Exchange<TInput, SignInResult>) {
  return mutationField((input: TInput, context) =>
    run(exchange, input, context, ({ credentials }) => credentials),
  );
}

/** A mutation of the sign-in service that returns no credentials. */
export function serviceField<TInput, TResult>(exchange: Exchange<TInput, TResult>) {
  return mutationField((input: TInput, context) => run(exchange, input, context, () => null));
}

/** Like serviceField, for a mutation without input. */
export function serviceFieldWithoutInput<TResult>(
  exchange: (signIn: SignIn, request: RequestContext) => Promise<TResult>,
) {
  return mutationFieldWithoutInput((context) =>
    run(
      (signIn, _input, request) => exchange(signIn, request),
      undefined,
      context,
      () => null,
    ),
  );
}

async function run<TInput, TResult>(
  exchange: Exchange<TInput, TResult>,
  input: TInput,
  { plinth, pgSettings }: Grafast.Context,
  credentialsOf: (result: TResult) => Credentials | null,
): Promise<TResult> {
  if (!plinth.signIn) throw new PlinthError("UNAVAILABLE", "Sign-in is not configured on this server.");
  // The one check before all of them: only a person may manage how an account is signed in to, never a program.
  if (isApiToken(plinth.request.claims))
    throw new PlinthError("FORBIDDEN", "An API token cannot do this.", { hint: "Sign in." });
  const result = await exchange(plinth.signIn, input, plinth.request);
  const credentials = credentialsOf(result);
  // The payload and the rest of this operation are read as the account that has just signed in.
  if (credentials) Object.assign(pgSettings as object, plinth.settingsOf(credentials));
  return result;
}
