import { render } from "preact";
import { client } from "./client.ts";
import { Console } from "./console.tsx";
import { useReadable } from "./hooks.ts";
import { SignIn } from "./sign-in.tsx";

function App() {
  const session = useReadable(client.session);
  return session.status === "signed-in" ? (
    <Console key={session.userId} />
  ) : (
    <SignIn reason={session.reason} />
  );
}

render(<App />, document.body);
