// Serves the chat at http://127.0.0.1:7000. See README.md.
import { serveWebChat } from "./serve.ts";

const { PLINTH_URL = "http://127.0.0.1:5678", PORT = "7000" } = process.env;
const { url } = await serveWebChat({ plinthUrl: PLINTH_URL, port: Number(PORT) });
console.log(`Open ${url} in two windows and sign in as two people.`);
