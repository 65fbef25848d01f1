import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { registerUser } from "../support/accounts.ts";
import { connect, connectAs, startChat, type UserConnection } from "../support/chat.ts";
import { addItem } from "../support/content.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { makeRandom, SEED } from "../support/random.ts";

// Rooms, chats and content read texts and queries in the same way. Each text is stored in all of them, and each search runs.

let db: TestDatabase;
let ada: UserConnection;
let owner: Awaited<ReturnType<typeof connect>>;
let room: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await connectAs(db, await registerUser(db, "ada"));
  owner = await connect(db, "owner");
  const [made] = await ada.rows<{ id: string }>("select id from rooms.create_room('room')");
  room = made!.id;
});
afterAll(async () => {
  for (const connection of [ada, owner]) await connection.end();
  await db.drop();
});

/** For each search: the texts that match a query (facets: their number). */
const SEARCHES = {
  rooms: "select content as text from rooms.search_room_messages($1)",
  chats:
    "select m.content as text from llm.search_chat_messages($1) s join llm.messages m on m.id = s.message_id",
  content: "select (item).title as text from learning.search_content($1) where not is_similar",
  facets: "select value as text from learning.content_search_facets($1) where facet = 'content_type'",
};
const search = async (kind: keyof typeof SEARCHES, query: string) =>
  (await ada.rows<{ text: string }>(SEARCHES[kind], [query])).map(({ text }) => text);

let serial = 0;
async function write(text: string, language = "en"): Promise<void> {
  await ada.rows("select rooms.post_room_message($1, $2)", [room, text]);
  await startChat(ada, text);
  await addItem(db, `item-${serial++}`, { title: text.slice(0, 200), language });
}
async function forget(): Promise<void> {
  await owner.rows(
    "truncate rooms.room_messages, llm.chats, learning.content_items restart identity cascade",
  );
}

const NFD = (text: string) => text.normalize("NFD");
describe.each<[string, string, string[], string[]]>([
  [
    "a file's name",
    "see package.json",
    ["package", "json", "package.json", '"package.json"'],
    ["packages.json5"],
  ],
  ["a path", "the input/output of src\\lib\\index.ts", ["output", "input", "lib", "input/output"], ["out"]],
  [
    "a URL",
    "at https://docs.Example.com/a-page?x=1#top",
    ["example", "docs.example.com", "page", "top"],
    ["exam"],
  ],
  [
    "an email address",
    "mail bob.ross@example.com",
    ["bob", "ross", "bob.ross@example.com", "example"],
    ["rossi"],
  ],
  [
    "joined words",
    "a snake_case, x-ray and v1.2.3",
    ["snake", "case", "ray", "x-ray", "snake_case"],
    ["ray-case"],
  ],
  ["accents", "un café à Málaga", ["cafe", "CAFÉ", "café", NFD("café"), "malaga"], ["caffè"]],
  ["accents in another form", NFD("un café à Málaga"), ["cafe", "café", NFD("café"), "malaga"], []],
  [
    "letters without a decomposition",
    "Łódź, smørrebrød, Straße, œuvre",
    ["lodz", "smorrebrod", "strasse", "oeuvre"],
    [],
  ],
  ["compatibility forms", "ﬁne ｐａｃｋａｇｅ Ⅷ ①", ["fine", "package", "viii", "1"], []],
  ["invisible characters", "soft\u00adware zero\u200bwidth", ["software", "zerowidth"], []],
  [
    "Chinese",
    "用于自动化測試的框架",
    ["測", "測試", "測試的", "自动化", '"測試的框架"', "用于自动化測試的框架"],
    ["測的", "試測", '"框架的"'],
  ],
  ["Chinese beside Latin letters", "用AI模型回答", ["AI", "模型", "AI模型", "回答"], ["模回"]],
  ["Japanese", "データベースの移行", ["ベース", "移行", "データベース", "ﾃﾞｰﾀ"], ["行移"]],
  ["Korean", "한국어를 배웁니다", ["한국어", "배웁니다"], ["국한"]],
  ["stop words", "the who played", ["the who", '"the who"', "the", "who played"], ["the whom"]],
  ["words in another form", "boats were leaving", ["boat", "leave", "boats leaving"], ["boot"]],
  [
    "words of another language",
    "programación de aplicaciones",
    ["programación", "programacion", "aplicaciones"],
    [],
  ],
  ["Russian", "новый ёлочный край", ["новый", "елочный", "край"], []],
])("%s", (_what, text, found, notFound) => {
  beforeAll(async () => {
    await forget();
    await write(text);
    await write("nothing of it");
  });
  test.each(Object.keys(SEARCHES) as (keyof typeof SEARCHES)[])("is found in %s", async (kind) => {
    const expected = kind === "facets" ? "video" : text;
    for (const query of found) expect([query, await search(kind, query)]).toEqual([query, [expected]]);
    // Facets count similar titles, too.
    if (kind !== "facets")
      for (const query of notFound) expect([query, await search(kind, query)]).toEqual([query, []]);
    if (kind !== "facets")
      for (const query of found) expect(await search(kind, `${query} -nothing`)).toEqual([text]);
  });
});

describe("marks", () => {
  const headline = async (text: string, query: string) => {
    const [row] = await owner.rows<{ html: string }>(
      "select plinth.search_headline('en', $1, plinth.search_query('en', $2), 'HighlightAll=true') as html",
      [text, query],
    );
    return row!.html;
  };
  test.each([
    ["see package.json", "package", "see <mark>package</mark>.json"],
    ["un café noir", "cafe", "un <mark>café</mark> noir"],
    [NFD("un café noir"), "café", "un <mark>café</mark> noir"],
    ["用于自动化測試的框架", "測試的", "用于自动化<mark>測試的</mark>框架"],
    ["用于自动化測試的框架", "測", "用于自动化<mark>測</mark>試的框架"],
    ["the who played", '"the who"', "<mark>the</mark> <mark>who</mark> played"],
    ["two boats, no boat -x", "boat -train", "two <mark>boats</mark>, no <mark>boat</mark> -x"],
    ["<b>bold</b> & 'it'", "bold", "&lt;b&gt;<mark>bold</mark>&lt;/b&gt; &amp; &#39;it&#39;"],
    ["\u{e000}a\u{e001} b\u0001c", "a", "<mark>a</mark> bc"],
    ["amp & lt <", "amp lt", "<mark>amp</mark> &amp; <mark>lt</mark> &lt;"],
    ["nothing of it", "boat", "nothing of it"],
    ["", "boat", ""],
  ])("surround hits in %j for %j", async (text, query, html) => {
    expect(await headline(text, query)).toBe(html);
  });
});

test("stems a content item in its language and finds it with and without accents", async () => {
  await forget();
  await write("Programación funcional", "es");
  await write("Häuser und Gärten", "de");
  for (const query of ["programación", "programaciones", "programacion", "FUNCIONAL"])
    expect([query, await search("content", query)]).toEqual([query, ["Programación funcional"]]);
  for (const query of ["Haus", "häuser", "hauser", "garten", "und"])
    expect([query, await search("content", query)]).toEqual([query, ["Häuser und Gärten"]]);
});

describe("any query", () => {
  beforeAll(async () => {
    await forget();
    await write("the model");
  });
  const answered = async (query: string) => {
    for (const kind of Object.keys(SEARCHES) as (keyof typeof SEARCHES)[])
      await search(kind, query).catch((error: Error) => {
        throw new Error(`${kind} for ${JSON.stringify(query)}: ${error.message}`);
      });
  };

  test.each([
    "-".repeat(33),
    "-".repeat(1000),
    "- ".repeat(500),
    "-a ".repeat(300),
    "--a",
    "or ".repeat(300),
    "-or or -or",
    '"'.repeat(99),
    '-"-"-"-"',
    '"- - -" or -"a -b"',
    "(".repeat(500),
    "!".repeat(500),
    "& | ! <-> :* \\ '",
    "a\\",
    "'\\''",
    "\\:A",
    "測".repeat(1000),
    "測 ".repeat(500),
    `"${"測試 ".repeat(300)}"`,
    "\u0301".repeat(500),
    "a\u0301\u0301\u0301-",
    "\u1fef\u037e\u2044",
    "ﷺ".repeat(500),
    "🙂".repeat(500),
    "\u200b",
    "x".repeat(100_000),
    "é".repeat(100_000),
    "\ud7fb\uf900\u{20000}",
  ])("is answered (%#)", async (query) => {
    await answered(query);
  });

  test(`is answered for 300 strings of punctuation, letters and spaces (PLINTH_SEED=${SEED})`, async () => {
    const random = makeRandom(SEED);
    const alphabet = [
      ...'!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~---""   aB9é測試の한\u0301\u00ad\u200bßİıſ№½①🙂',
      " or ",
      "\t",
      "\n",
    ];
    for (let n = 0; n < 300; n++)
      await answered(
        Array.from({ length: random(n % 10 ? 40 : 1200) }, () => alphabet[random(alphabet.length)]).join(""),
      );
  });
});

describe("any text", () => {
  const range = (from: number, count: number, word: number, step = 1) => {
    const letters = Array.from({ length: count }, (_, i) => String.fromCodePoint(from + i * step));
    const words: string[] = [];
    for (let i = 0; words.length * (word + 1) < 100_000; i++) {
      let text = "";
      for (let n = i, k = 0; k < word; k++, n = Math.floor(n / count)) text += letters[n % count];
      words.push(text);
    }
    return words.join(" ");
  };
  test.each([
    ["Latin words", range(0x61, 26, 4)],
    ["short Latin words", range(0x61, 26, 3)],
    ["words with accents", range(0xe0, 30, 3)],
    ["Vietnamese words", range(0x1ea1, 40, 3, 2)],
    ["Cyrillic words", range(0x430, 32, 3)],
    ["Greek words", range(0x3ac, 34, 3)],
    ["words of four bytes a letter", range(0x10428, 40, 2)],
    ["Chinese", range(0x4e00, 20_000, 1).replaceAll(" ", "")],
    ["rare Chinese", range(0x20000, 40_000, 1).replaceAll(" ", "")],
    ["ligatures", "ﷺ ".repeat(30_000)],
    ["one long word", "é".repeat(100_000)],
  ])("is stored: %s", async (_what, text) => {
    for (const language of ["en", "es", "ru", "zh"])
      await owner.rows("select length(plinth.search_document($1, $2))", [language, text]);
  });
});
