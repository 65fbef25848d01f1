import type { ResultOf } from "plinth/client/graphql";
import { useCallback, useEffect, useState } from "preact/hooks";
import { Accounts } from "./account.tsx";
import { client, messageOf } from "./client.ts";
import { WHO_AM_I } from "./operations.ts";
import { System } from "./system.tsx";

const PERIODS = [
  [1, "24 hours"],
  [7, "7 days"],
  [30, "30 days"],
  [90, "90 days"],
] as const;

type Me = ResultOf<typeof WHO_AM_I>;

/** The pages that the signed-in user may see, by name in the address. */
export function Console() {
  const [me, setMe] = useState<Me>();
  const [problem, setProblem] = useState("");
  const [days, setDays] = useState(30);
  const page = useHash();
  const load = useCallback(() => {
    setProblem("");
    client.request(WHO_AM_I).then(setMe, (error: unknown) => setProblem(messageOf(error)));
  }, []);
  useEffect(load, [load]);

  const pages = [
    ...(me?.operations ? (["system"] as const) : []),
    ...(me?.accounts ? (["accounts"] as const) : []),
  ];
  const current = pages.find((each) => each === page) ?? pages[0];
  return (
    <>
      <header class="top">
        <h1>
          <span class="brand">Plinth</span> console
        </h1>
        <nav aria-label="Pages">
          {pages.map((each) => (
            <a key={each} href={`#${each}`} aria-current={each === current ? "page" : undefined}>
              {each === "system" ? "System" : "Accounts"}
            </a>
          ))}
        </nav>
        {current === "system" && (
          <fieldset class="periods">
            <legend>Period</legend>
            {PERIODS.map(([length, name]) => (
              <label key={length}>
                <input
                  type="radio"
                  name="period"
                  checked={length === days}
                  onChange={() => setDays(length)}
                />
                <span>{name}</span>
              </label>
            ))}
          </fieldset>
        )}
        <p class="user">{me?.currentUser?.username}</p>
        <button type="button" onClick={() => client.auth.signOut().catch(() => {})}>
          Sign out
        </button>
      </header>
      <main>
        {problem && (
          <p class="problem" role="alert">
            {problem}{" "}
            <button type="button" onClick={load}>
              Try again
            </button>
          </p>
        )}
        {me && !current && <Refusal />}
        {current === "system" && <System days={days} onForbidden={load} />}
        {current === "accounts" && <Accounts />}
      </main>
    </>
  );
}

function Refusal() {
  return (
    <section class="panel refusal" aria-labelledby="refusal">
      <h2 id="refusal">You may not use this console</h2>
      <p>
        It needs the permission <code>read_operations</code>, and <code>manage_users</code> for accounts. Ask
        an administrator for a role that has them.
      </p>
      <p>If your role requires a second factor, sign in with one.</p>
    </section>
  );
}

/** The part of the address after the #. */
function useHash(): string {
  const [hash, setHash] = useState(location.hash.slice(1));
  useEffect(() => {
    const update = () => setHash(location.hash.slice(1));
    addEventListener("hashchange", update);
    return () => removeEventListener("hashchange", update);
  }, []);
  return hash;
}
