import { useState } from "preact/hooks";
import { submit } from "./hooks.ts";
import { report } from "./notice.ts";
import { client } from "./plinth.ts";

type Enrolment = Awaited<ReturnType<typeof client.auth.startTotp>>;

/** The second factors of the account, and the enrolment of an authenticator app. */
export function SecondFactors(props: {
  factors: readonly { id: string; kind: string; name: string }[];
  onChange: () => void;
}) {
  const [enrolment, setEnrolment] = useState<Enrolment>();
  const [recoveryCodes, setRecoveryCodes] = useState<readonly string[] | null>(null);
  const start = () => client.auth.startTotp("Authenticator app").then(setEnrolment, report);
  const confirm = submit(async ({ code = "" }) => {
    setRecoveryCodes(await client.auth.confirmTotp({ factorId: enrolment!.factorId, code }));
    setEnrolment(undefined);
    props.onChange();
  });
  return (
    <>
      <h2>Second factor</h2>
      <ul id="factors">
        {props.factors.map(({ id, kind, name }) => (
          <li key={id}>{name || kind}</li>
        ))}
      </ul>
      {recoveryCodes && (
        <div role="status">
          <p>Keep these recovery codes. Each signs you in once, and they are not shown again.</p>
          <pre id="recovery-codes">{recoveryCodes.join("\n")}</pre>
        </div>
      )}
      {enrolment ? (
        <form id="confirm-totp" onSubmit={confirm}>
          <p>
            <a href={enrolment.uri}>Open your authenticator app</a> or enter this key there:{" "}
            <code id="totp-secret">{enrolment.secret}</code>
          </p>
          <div class="row">
            <input
              name="code"
              inputMode="numeric"
              autocomplete="one-time-code"
              aria-label="Code of the app"
              placeholder="Code of the app"
              required
            />
            <button type="submit">Confirm</button>
          </div>
        </form>
      ) : (
        <button type="button" id="start-totp" onClick={start}>
          Add an authenticator app
        </button>
      )}
    </>
  );
}
