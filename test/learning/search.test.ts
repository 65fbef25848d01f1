import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { importContent } from "../../src/import/content/import-content.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";
import { addCategory, addItem } from "./support.ts";

let db: TestDatabase;
let curriculum: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
  curriculum = await createTestDatabase();
  const owner = new pg.Client(curriculum.url("owner"));
  await owner.connect();
  await importContent(join(PACKAGE_ROOT, "src", "demo", "curriculum.ndjson"), { client: owner });
  await owner.end();
});
afterAll(async () => {
  await db.drop();
  await curriculum.drop();
});

interface Hit {
  readonly id: string;
  readonly title: string;
  readonly title_html: string;
  readonly summary_html: string;
  readonly is_similar: boolean;
}
const search = (tx: Transaction, query: string, named = "") =>
  tx.attempt<Hit>(
    `select (item).id, (item).title, title_html, summary_html, is_similar
     from learning.search_content(query => $1 ${named && `, ${named}`})`,
    [query],
  );
const titles = async (tx: Transaction, query: string, named = ""): Promise<string[]> =>
  (await search(tx, query, named)).map(({ title }) => title);

describe("full-text search [A4]", () => {
  test("ranks title before tags before summary, also for visitors", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await addItem(tx.client, { title: "In the summary", summary: "about gradients" });
      await addItem(tx.client, { title: "In the tags", tags: ["gradient"] });
      await addItem(tx.client, { title: "Gradients" });
      await addItem(tx.client, { title: "Nothing" });
      await tx.asAnonymous();
      expect(await titles(tx, "gradient")).toEqual(["Gradients", "In the tags", "In the summary"]);
    });
  });

  test("finds no unavailable item for any caller", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await addItem(tx.client, { title: "Secret plan one", published: false });
      await addItem(tx.client, { title: "Secret plan two", deleted: true });
      await addItem(tx.client, { title: "Secret plan three", from: 1 });
      await addItem(tx.client, { title: "Secret plan four", from: -2, until: -1 });
      const course = await addItem(tx.client, { title: "Draft course", type: "course", published: false });
      await addItem(tx.client, { title: "Secret plan five", course });
      await addItem(tx.client, { title: "Open plan", body: "the secret is in the text" });
      await tx.asAnonymous();
      expect(await titles(tx, "secret")).toEqual([]);
      expect(await titles(tx, "secrte plan")).toEqual(["Open plan"]);
      expect(await titles(tx, "")).toEqual(["Open plan"]);
      expect(
        await tx.rows(
          "select facet, value, item_count::integer as n from learning.content_search_facets('plan') where facet = 'content_type'",
        ),
      ).toEqual([{ facet: "content_type", value: "lesson", n: 1 }]);
    });
  });

  test("stems and drops stop words in the language of each item", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await addItem(tx.client, { title: "Running models", language: "en" });
      await addItem(tx.client, { title: "Die Häuser der Modelle", language: "de" });
      await addItem(tx.client, { title: "Os modelos brasileiros", language: "pt-BR" });
      await addItem(tx.client, { title: "Mô hình ngôn ngữ", language: "vi" });
      await addItem(tx.client, { title: "Dies, models, dies", language: "en" });
      await tx.asAnonymous();
      expect(await titles(tx, "run")).toEqual(["Running models"]);
      expect(await titles(tx, "Haus")).toEqual(["Die Häuser der Modelle"]);
      expect(await titles(tx, "modelo", "language => 'pt'")).toEqual(["Os modelos brasileiros"]);
      expect(await titles(tx, "modelo", "language => 'pt-BR'")).toEqual(["Os modelos brasileiros"]);
      expect(await titles(tx, "hình")).toEqual(["Mô hình ngôn ngữ"]);
      expect((await titles(tx, "modell or models")).sort()).toEqual([
        "Die Häuser der Modelle",
        "Dies, models, dies",
        "Running models",
      ]);
      expect((await titles(tx, "models -dies")).sort()).toEqual(["Running models"]);
      expect(await titles(tx, '"running models"')).toEqual(["Running models"]);
      expect(await titles(tx, "run", "language => 'de'")).toEqual([]);
    });
  });

  test.each([
    ["en", "english"],
    ["en-GB", "english"],
    ["pt-BR", "portuguese"],
    ["nb", "norwegian"],
    ["vi", "simple"],
    ["zxx", "simple"],
  ])("reads %s as %s", async (language, configuration) => {
    await inRolledBackTransaction(db, async (tx) => {
      expect(await tx.rows("select learning.search_configuration($1)::text as c", [language])).toEqual([
        { c: configuration },
      ]);
    });
  });

  test("maps every language to a configuration of PostgreSQL", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const languages =
        "ar ca da de el en es eu fi fr ga hi hu hy id it lt nb ne nl nn no pt ro ru sr sv ta tr yi".split(
          " ",
        );
      const rows = await tx.rows(
        "select l from unnest($1::text[]) as l where learning.search_configuration(l) = 'simple'::regconfig",
        [languages],
      );
      expect(rows).toEqual([]);
    });
  });

  test("marks hits in escaped text", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await addItem(tx.client, {
        title: 'Gradients <script>alert("x")</script> & <b>bold</b> gradients',
        summary: "Descend the gradient's <i>slope</i> &amp; rest, List<Gradient>",
      });
      await tx.asAnonymous();
      const [hit] = await search(tx, "gradient");
      expect(hit).toMatchObject({
        title_html:
          "<mark>Gradients</mark> &lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &lt;b&gt;bold&lt;/b&gt; <mark>gradients</mark>",
      });
      expect(hit!.summary_html).toContain(
        "<mark>gradient</mark>&#39;s &lt;i&gt;slope&lt;/i&gt; &amp;amp; rest",
      );
      for (const query of ["gradient", "script", "gradeints", "", "amp", "lt", "quot", "mark"])
        for (const one of await search(tx, query))
          for (const html of [one.title_html, one.summary_html])
            expect(html.replaceAll(/<\/?mark>/g, "")).not.toMatch(/[<>"']/);
    });
  });

  test("filters by type, category with subcategories, tags and level, page by page", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const top = await addCategory(tx.client, "top");
      const below = await addCategory(tx.client, "below", top);
      const other = await addCategory(tx.client, "other");
      await addItem(tx.client, { title: "Model a", category: top, tags: ["x", "y"], level: 1 });
      await addItem(tx.client, { title: "Model b", category: below, tags: ["X"], level: 5, type: "quiz" });
      await addItem(tx.client, { title: "Model c", category: other, tags: ["y"], level: 9 });
      await tx.asAnonymous();
      const find = async (named: string) => (await titles(tx, "model", named)).sort();
      expect(await find(`category_id => '${top}'`)).toEqual(["Model a", "Model b"]);
      expect(await find(`category_id => '${below}'`)).toEqual(["Model b"]);
      expect(await find("category_id => plinth.uuid_v7()")).toEqual([]);
      expect(await find("tags => '{x}'")).toEqual(["Model a", "Model b"]);
      expect(await find("tags => '{ X ,y}'")).toEqual(["Model a"]);
      expect(await find("tags => '{}'")).toHaveLength(3);
      expect(await find("content_types => '{quiz}'")).toEqual(["Model b"]);
      expect(await find("min_level => 5")).toEqual(["Model b", "Model c"]);
      expect(await find("min_level => 2, max_level => 5")).toEqual(["Model b"]);
      const pages: string[] = [];
      for (const skip of [0, 1, 2, 3])
        pages.push(...(await titles(tx, "model", `max_results => 1, skip => ${skip}`)));
      expect(pages.sort()).toEqual(["Model a", "Model b", "Model c"]);
      expect(
        await tx.rows(
          "select value, label, item_count::integer as n from learning.content_search_facets('model') where facet in ('tag', 'category')",
        ),
      ).toEqual(
        expect.arrayContaining([
          { value: "x", label: "x", n: 2 },
          { value: "y", label: "y", n: 2 },
          { value: below, label: "below", n: 1 },
        ]),
      );
    });
  });

  test.each([
    "",
    "   ",
    "the",
    "'",
    '"',
    "!!",
    "& | ! ( )",
    "a:*",
    "\\",
    "%_",
    "🙂",
    "x".repeat(10_000),
    "(((",
    "-",
    "or or or",
  ])("accepts any input (%#)", async (query) => {
    await inRolledBackTransaction(db, async (tx) => {
      await addItem(tx.client, { title: "The model" });
      await tx.asAnonymous();
      expect((await search(tx, query)).length).toBeLessThan(2);
      await tx.rows("select * from learning.content_search_facets($1)", [query]);
    });
  });
});

describe("search in the curriculum", () => {
  test.each([
    ["attention", "Attention"],
    ["atention", "Attention"],
    ["nueral networks", "Neural networks from scratch"],
    ["bakpropagation", "Backpropagation"],
    ["transfromer", "Inside the transformer"],
    ["Fehlerspanne Umfrage", "Übung: eine Umfrage lesen"],
    ["réseau", "Réseaux de neurones"],
    ["herramientas agentes", "Agentes con herramientas"],
  ])("finds for %s among the first %s", async (query, title) => {
    await inRolledBackTransaction(curriculum, async (tx) => {
      await tx.asAnonymous();
      expect((await titles(tx, query)).slice(0, 5)).toContain(title);
    });
  });

  test("flags hits for typing errors and marks the similar words", async () => {
    await inRolledBackTransaction(curriculum, async (tx) => {
      await tx.asAnonymous();
      const [hit] = await search(tx, "bakpropagation");
      expect(hit).toMatchObject({ is_similar: true, title_html: "<mark>Backpropagation</mark>" });
      const [right] = await search(tx, "backpropagation");
      expect(right).toMatchObject({ is_similar: false });
    });
  });

  test("returns facets that add up to the hits", async () => {
    await inRolledBackTransaction(curriculum, async (tx) => {
      await tx.asAnonymous();
      const hits = await search(tx, "model", "max_results => 100");
      expect(hits.length).toBeGreaterThan(20);
      expect(hits.length).toBeLessThan(100);
      const sums = await tx.rows<{ facet: string; n: number }>(
        "select facet, sum(item_count)::integer as n from learning.content_search_facets('model') where facet <> 'tag' group by facet order by facet",
      );
      expect(sums).toEqual(
        ["category", "content_type", "language", "level"].map((facet) => ({ facet, n: hits.length })),
      );
    });
  });
});
