import { toDbml } from "./dbml.ts";
import { domainGraph, wholeGraph } from "./graphviz.ts";
import { toMermaid } from "./mermaid.ts";
import type { SchemaModel } from "./model.ts";
import { overviewPage } from "./overview-page.ts";
import { schemaPage } from "./page-html.ts";
import { drawSvg } from "./svg.ts";

/** Returns the files of `plinth docs` by name: DBML, Mermaid text and a picture of each domain, a picture of all, an overview and a page. */
export async function schemaDocs(model: SchemaModel): Promise<Map<string, string>> {
  const domains = model.drawn.filter((domain) => model.relations.some(({ schema }) => schema === domain));
  const files = new Map([
    ["README.md", overviewPage(model, domains)],
    ["index.html", await schemaPage(model.page)],
    [`${model.project}.dbml`, toDbml(model)],
    ["all-domains.svg", await drawSvg(wholeGraph(model))],
  ]);
  for (const domain of domains) {
    files.set(`${domain}.mmd`, toMermaid(model, domain));
    files.set(`${domain}.svg`, await drawSvg(domainGraph(model, domain)));
  }
  return files;
}
