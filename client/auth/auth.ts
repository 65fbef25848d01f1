import type { Send } from "../request.ts";
import type { Credentials, Session } from "../session/session.ts";
import { memoryStorage, type TokenStorage } from "../session/storage.ts";
import * as documents from "./documents.ts";
import { askBrowser } from "./passkey.ts";

/** A second factor, exactly one; `passkey` opens the browser's dialog. */
export type SecondFactor =
  | { readonly code: string }
  | { readonly recoveryCode: string }
  | { readonly passkey: true; readonly signal?: AbortSignal };

/** A confirmation of the user's identity; the password only if the account has no second factor. */
export type IdentityProof = SecondFactor | { readonly password: string };

/** The outcome of a sign-in: a session, or a second step. */
export type SignInResult = { readonly status: "signed-in" } | SecondFactorChallenge;

/** The password was right, and the account has a second factor. */
export interface SecondFactorChallenge {
  readonly status: "second-factor";
  /** The factors of this account: `totp`, `recovery_code`, `passkey`. */
  readonly methods: readonly string[];
  readonly expiresAt: string;
  /** May be repeated after INVALID_CREDENTIALS. */
  complete(factor: SecondFactor): Promise<void>;
}

/** A new account. */
export interface Registration {
  readonly username: string;
  readonly password: string;
  readonly email?: string;
  readonly displayName?: string;
  /** Names the session in the user's list of sessions. */
  readonly deviceName?: string;
}

interface SignInPayload {
  readonly accessToken: string | null;
  readonly refreshToken: string | null;
  readonly challenge: {
    readonly token: string;
    readonly expiresAt: string;
    readonly methods: readonly string[];
  } | null;
}

/** Signing in and out, and the second factors of the account. */
export class Auth {
  readonly #send: Send;
  readonly #session: Session;
  readonly #flows: TokenStorage;

  constructor(send: Send, session: Session) {
    this.#send = send;
    this.#session = session;
    this.#flows = sessionStorageOfPage() ?? memoryStorage();
  }

  /** Creates an account and signs in. */
  async register(input: Registration): Promise<void> {
    this.#session.adopt(await this.#visitor<Credentials>(documents.REGISTER, { ...input }));
  }

  /** Signs in with a username or email address and a password. */
  async signIn(input: {
    readonly identifier: string;
    readonly password: string;
    readonly deviceName?: string;
  }): Promise<SignInResult> {
    return this.#result(await this.#visitor<SignInPayload>(documents.LOGIN, input));
  }

  /** Signs in with a passkey alone. */
  async signInWithPasskey(
    options: { readonly deviceName?: string; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const { signal, ...input } = options;
    const start = await this.#visitor<{ options: unknown }>(documents.START_PASSKEY_SIGN_IN, {});
    const response = await askBrowser("get", start.options, signal);
    this.#session.adopt(await this.#visitor(documents.FINISH_PASSKEY_SIGN_IN, { ...input, response }));
  }

  /** Starts a sign-in with another provider. @returns the address to send the browser to */
  async startProviderSignIn(input: {
    readonly provider: string;
    readonly redirectUri?: string;
    readonly deviceName?: string;
  }): Promise<string> {
    const { authorizationUrl, flowToken } = await this.#visitor<{
      authorizationUrl: string;
      flowToken: string;
    }>(documents.START_PROVIDER_SIGN_IN, input);
    this.#flows.setItem(FLOW, flowToken);
    return authorizationUrl;
  }

  /** Finishes it, in the same tab. @param callbackUrl the whole address that the provider sent the browser to */
  async finishProviderSignIn(callbackUrl: string): Promise<SignInResult> {
    const flowToken = this.#flows.getItem(FLOW) ?? "";
    this.#flows.removeItem(FLOW);
    return this.#result(
      await this.#visitor<SignInPayload>(documents.FINISH_PROVIDER_SIGN_IN, { flowToken, callbackUrl }),
    );
  }

  /** Ends the session here at once and, if the server can be reached, also there. */
  async signOut(): Promise<void> {
    const lastToken = this.#session.leave();
    try {
      const token = await lastToken();
      if (token) await this.#send(documents.LOGOUT, { input: {} }, { token });
    } catch {
      // The session ends on the server when it expires.
    }
  }

  /** Sets a new password; ends all other sessions unless `endOtherSessions` is false. */
  async changePassword(input: {
    readonly currentPassword: string;
    readonly newPassword: string;
    readonly endOtherSessions?: boolean;
  }): Promise<void> {
    this.#session.adopt(await this.#user(documents.CHANGE_PASSWORD, input));
  }

  /** Confirms the user's identity, which sensitive changes need; it counts for ten minutes. */
  async reauthenticate(proof: IdentityProof): Promise<void> {
    const input = await this.#answer(proof, () => this.#user(documents.START_PASSKEY_REAUTHENTICATION));
    await this.#user(documents.REAUTHENTICATE, input);
  }

  /** Starts enrolling an authenticator app. Show `uri` as a QR code. */
  startTotp(name?: string): Promise<{
    readonly factorId: string;
    readonly secret: string;
    readonly uri: string;
  }> {
    return this.#user(documents.START_TOTP, { name });
  }

  /** Completes the enrolment. @returns recovery codes with the first factor; show them, they cannot be read again */
  async confirmTotp(input: { readonly factorId: string; readonly code: string }): Promise<RecoveryCodes> {
    const added = await this.#user<AddedFactor>(documents.CONFIRM_TOTP, input);
    return added.recoveryCodes;
  }

  /** Adds a passkey. @returns as confirmTotp */
  async addPasskey(
    options: { readonly name?: string; readonly passwordless?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<RecoveryCodes> {
    const { name, passwordless, signal } = options;
    const start = await this.#user<{ options: unknown }>(documents.START_PASSKEY_REGISTRATION, {
      passwordless,
    });
    const response = await askBrowser("create", start.options, signal);
    const added = await this.#user<AddedFactor>(documents.FINISH_PASSKEY_REGISTRATION, { response, name });
    return added.recoveryCodes;
  }

  #result({ accessToken, refreshToken, challenge }: SignInPayload): SignInResult {
    if (!challenge) {
      this.#session.adopt({ accessToken: accessToken!, refreshToken: refreshToken! });
      return { status: "signed-in" };
    }
    const { token: challengeToken, methods, expiresAt } = challenge;
    const complete = async (factor: SecondFactor) => {
      const start = () =>
        this.#visitor<{ options: unknown }>(documents.START_PASSKEY_SIGN_IN, { challengeToken });
      const input = { challengeToken, ...(await this.#answer(factor, start)) };
      this.#session.adopt(await this.#visitor(documents.COMPLETE_SIGN_IN, input));
    };
    return { status: "second-factor", methods, expiresAt, complete };
  }

  /** Turns a passkey into the browser's answer; other proofs are sent as they are. */
  async #answer(proof: IdentityProof, start: () => Promise<{ options: unknown }>): Promise<object> {
    if (!("passkey" in proof)) return proof;
    const { options } = await start();
    return { passkeyResponse: await askBrowser("get", options, proof.signal) };
  }

  /** Sends a mutation without a token, because an expired one would be rejected. */
  #visitor<T>(document: string, input: object): Promise<T> {
    return this.#send<T>(document, { input }, { token: null });
  }

  #user<T>(document: string, input: object = {}): Promise<T> {
    return this.#send<T>(document, { input });
  }
}

type RecoveryCodes = readonly string[] | null;
interface AddedFactor {
  readonly recoveryCodes: RecoveryCodes;
}

const FLOW = "plinth.provider-flow";

/** The page of another tab must not finish this sign-in, so the flow's token stays in this tab. */
function sessionStorageOfPage(): TokenStorage | undefined {
  try {
    return "document" in globalThis
      ? (globalThis as { sessionStorage?: TokenStorage }).sessionStorage
      : undefined;
  } catch {
    return undefined;
  }
}
