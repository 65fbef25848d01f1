import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { buildSchema, parse, validate } from "postgraphile/graphql";
import { serveWebChat } from "../../examples/web-chat/serve.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// The parts of examples/web-chat that need no browser; test/browser uses the page.

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");
const texts = [...read("examples/web-chat/page/operations.ts").matchAll(/graphql\(\s*`(.*?)`/gs)].map(
  ([, text]) => text!,
);
const fragments = texts.filter((text) => text.startsWith("fragment"));
const operations = texts.filter((text) => !text.startsWith("fragment"));
const schema = buildSchema(read("migrations/schema/schema.graphql"));

let site: Awaited<ReturnType<typeof serveWebChat>>;
beforeAll(async () => {
  site = await serveWebChat({ plinthUrl: "https://api.example.org", port: 0 });
});
afterAll(() => site.close());

test("finds the operations", () => {
  expect(operations.length).toBeGreaterThan(20);
});

test.each(operations)("asks what the API has: %s", (operation) => {
  const used = fragments.filter((text) => operation.includes(`...${text.split(" ")[1]}`));
  const errors = validate(schema, parse([operation, ...used].join("\n")));
  expect(errors.map(({ message }) => message)).toEqual([]);
});

test.each(["/", "/style.css", "/main.js"])(
  "serves %s with a policy that allows only its own script and Plinth",
  async (path) => {
    const { status, headers } = await fetch(site.url + path);
    const policy = headers.get("content-security-policy");
    expect(status).toBe(200);
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(policy).toContain("connect-src https://api.example.org wss://api.example.org;");
    expect(policy).not.toContain("unsafe");
  },
);

test("serves nothing else", async () => {
  expect((await fetch(`${site.url}/serve.ts`)).status).toBe(404);
});
