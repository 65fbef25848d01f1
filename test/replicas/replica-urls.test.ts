import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { loadConfig } from "../../src/config/config.ts";

const urlsOf = (value: string) => loadConfig({ PLINTH_REPLICA_URLS: value }).replicas.urls;

test("PLINTH_REPLICA_URLS is a list of URLs, whose passwords may contain commas", () => {
  const urls = ["postgres://a:p,w@one:5432/plinth", "postgresql://a@two/plinth?sslmode=verify-full"];
  expect(urlsOf(` ${urls.join(" , ")} `)).toEqual(urls);
  expect(urlsOf("")).toEqual([]);
  const folder = mkdtempSync(join(tmpdir(), "plinth-replicas-"));
  const PLINTH_REPLICA_URLS_FILE = join(folder, "urls");
  writeFileSync(PLINTH_REPLICA_URLS_FILE, `${urls.join(",\n")}\n`);
  expect(loadConfig({ PLINTH_REPLICA_URLS_FILE }).replicas.urls).toEqual(urls);
  rmSync(folder, { recursive: true });
});

test.each(["https://a:s3cret@two", "a:s3cret@two/plinth"])("%s is rejected and not printed", (url) => {
  const start = () => urlsOf(`postgres://a@one/plinth, ${url}`);
  expect(start).toThrow(expect.objectContaining({ code: "INVALID_SETTING" }));
  expect(start).toThrow(/^(?!.*s3cret)PLINTH_REPLICA_URLS must be URLs/s);
});
