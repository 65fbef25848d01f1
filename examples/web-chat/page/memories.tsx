import { submit, useQuery } from "./hooks.ts";
import { report } from "./notice.ts";
import { FORGET, MEMORIES, REMEMBER } from "./operations.ts";
import { client } from "./plinth.ts";

/** The memories of the user. A new chat begins with the memories that its first question recalls. */
export function Memories() {
  const [found, reload] = useQuery(MEMORIES);
  const remember = submit(({ text = "" }) => client.request(REMEMBER, { text }).then(reload));
  const forget = (id: string) => client.request(FORGET, { id }).then(reload, report);
  return (
    <>
      <h2>Memories</h2>
      <ul id="memories">
        {found?.memories?.nodes.map(({ id, text }) => (
          <li key={id} class="row">
            <span>{text}</span>
            <button type="button" class="quiet" onClick={() => forget(id)} aria-label={`Forget: ${text}`}>
              Forget
            </button>
          </li>
        ))}
      </ul>
      <form id="remember" class="row" onSubmit={remember}>
        <input
          name="text"
          maxLength={4000}
          required
          aria-label="Something to remember"
          placeholder="I am allergic to peanuts."
        />
        <button type="submit">Remember</button>
      </form>
    </>
  );
}
