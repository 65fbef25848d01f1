// Serves a notebook of SQL at http://127.0.0.1:7001. See README.md.
import { resolve } from "node:path";
import { serveNotebook } from "./serve.ts";

const { ANALYST_URL, PORT = "7001" } = process.env;
const [file] = process.argv.slice(2);
if (!ANALYST_URL) {
  console.error('Set the database URL: ANALYST_URL="$(npx plinth db url --role analyst)"');
  process.exit(1);
}
const { url } = await serveNotebook({
  analystUrl: ANALYST_URL,
  notebook: file ? resolve(file) : new URL("product.md", import.meta.url),
  port: Number(PORT),
});
console.log(`Open ${url}.`);
