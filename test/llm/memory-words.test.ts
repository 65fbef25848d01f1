import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { wordsOf } from "../../src/accounts/memories/text-words.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { makeRandom, SEED } from "../support/random.ts";

// The server finds the words of memories itself, because the database must not see them. They are those of plinth.search_document,
// so that memories are found as messages are.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

const asOwner = rowsAs("owner", () => db);
async function inDatabase(texts: readonly string[]): Promise<string[][]> {
  const rows = await asOwner<{ words: string[] }>(
    `select tsvector_to_array(plinth.search_document('en', t.text)) as words
     from unnest($1::text[]) with ordinality as t (text, place) order by t.place`,
    [texts],
  );
  return rows.map(({ words }) => words);
}
/** PostgreSQL 18 stems "added" to "add", earlier versions to "ad". Memories must be found after an upgrade, so they do not follow. */
const canonical = (words: readonly string[]) =>
  [...new Set(words.map((word) => (word === "ad" ? "add" : word)))].toSorted();
async function differences(
  texts: readonly string[],
): Promise<[text: string, here: string[], there: string[]][]> {
  const expected = await inDatabase(texts);
  return texts
    .map((text, n) => [text, canonical(wordsOf(text)), canonical(expected[n]!)] as const)
    .filter(([, here, there]) => here.join(" ") !== there.join(" "))
    .map((each) => [...each]);
}

test.each([
  ["sentences", "I'm allergic to peanuts, and I don't eat them. My sister's flat is on the 3rd floor!"],
  [
    "joined words",
    "run-time foo_bar a/b.ts user@example.org https://docs.Example.com/a-page?x=1#top <b>bold</b> &amp; C++",
  ],
  ["numbers", "1,234.56 and 1e5 and 007 and 12ab ab12 -5 +49151 3.14 2026-11-29 10:30 v1.2.3"],
  ["accents", "naïve café Straße Æsir œuvre smørrebrød Łódź ÐþƗħŧı Zürich ËÏ"],
  ["compatibility", "ﬁne Ⅷ ½ ｆｕｌｌ ² ™ ＡＢＣ １２３"],
  [
    "invisible characters",
    "soft\u00adhyphen zero\u200bwidth join\u200der byte\ufefforder e\u0301te\u0301 \u0301stray",
  ],
  ["Cyrillic", "Привет, мой дорогой друг! Ёлка й Й и\u0306"],
  ["Greek", "Καλημέρα κόσμε Σίσυφος ΣΟΦΟΣ"],
  ["Chinese", "我喜欢绿茶。模型 ABC模型3 模"],
  ["Japanese", "東京でラーメンを食べる々ー。ｶﾀｶﾅ"],
  ["Korean", "저는 녹차를 좋아해요 한국어"],
  ["Arabic and Hebrew", "أنا أحب الشاي שלום עולם"],
  ["Hindi and Thai", "मुझे चाय पसंद है ฉันชอบชา"],
  ["emoji and symbols", "👍🏽 🎉 a😀b → ∑ € $5 ☕️ 100%"],
  ["nothing", " \t\n ... --- '' "],
  ["stop words", "the who and to be or not to be"],
])("are those of the search: %s", async (_, text) => {
  expect(await differences([text])).toEqual([]);
});

test("are those of the search in thousands of lines", async () => {
  const folder = join(PACKAGE_ROOT, "docs");
  const files = readdirSync(folder).filter((file) => file.endsWith(".md"));
  const lines = [...files.map((file) => join(folder, file)), join(PACKAGE_ROOT, "README.md")]
    .flatMap((file) => readFileSync(file, "utf8").split("\n"))
    .filter((line) => line.trim() !== "");
  expect(lines.length).toBeGreaterThan(3_000);
  expect(await differences(lines)).toEqual([]);
});

test(`are those of the search in random texts of many scripts (seed ${SEED})`, async () => {
  const random = makeRandom(SEED);
  const letters = [..."abcdefgABC 12 äßé  .,-'/_&<@:  жйё 模型々ー 한 अ ก א ﬁ½😀\u200b\u0301"];
  const texts = Array.from({ length: 2_000 }, () =>
    Array.from({ length: 12 }, () => letters[random(letters.length)]).join(""),
  );
  expect(await differences(texts)).toEqual([]);
});
