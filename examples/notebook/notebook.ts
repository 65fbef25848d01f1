/** A piece of a notebook, in the order of the file. */
export type Piece =
  | { readonly kind: "heading" | "text"; readonly text: string }
  | { readonly kind: "cell"; readonly sql: string };

/** Reads a notebook: Markdown with headings, paragraphs and blocks of SQL. It reads well on GitHub too. */
export function readNotebook(markdown: string): Piece[] {
  const pieces: Piece[] = [];
  for (const [index, part] of markdown.split(/^```(?:sql)?[ \t]*\n?/m).entries()) {
    if (index % 2 === 1) {
      pieces.push({ kind: "cell", sql: part.trimEnd() });
      continue;
    }
    for (const paragraph of part.split(/\n{2,}/).map((text) => text.trim()))
      if (paragraph.startsWith("#")) pieces.push({ kind: "heading", text: paragraph.replace(/^#+\s*/, "") });
      else if (paragraph) pieces.push({ kind: "text", text: plain(paragraph) });
  }
  return pieces;
}

/** A paragraph without its line breaks and the addresses of its links. */
function plain(paragraph: string): string {
  return paragraph.replace(/\s*\n\s*/g, " ").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
}
