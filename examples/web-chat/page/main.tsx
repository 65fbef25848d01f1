import { render } from "preact";
import { ConfirmIdentity } from "./confirm-identity.tsx";
import { useReadable } from "./hooks.ts";
import { notice, notify } from "./notice.ts";
import { client } from "./plinth.ts";
import { SignIn } from "./sign-in.tsx";
import { Workspace } from "./workspace.tsx";

function App() {
  const session = useReadable(client.session);
  const text = useReadable(notice);
  return (
    <>
      {session.status === "signed-in" ? (
        <Workspace key={session.userId} userId={session.userId} />
      ) : (
        <SignIn reason={session.reason} />
      )}
      <div class="notice" role="alert" hidden={text === ""}>
        {text}
        <button type="button" class="quiet" onClick={() => notify("")} aria-label="Close the message">
          ×
        </button>
      </div>
      <ConfirmIdentity />
    </>
  );
}

render(<App />, document.body);
