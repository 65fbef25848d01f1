/** A row of a table of an export; the memories are tables of their own. */
export interface ExportedRow {
  readonly table: string;
  readonly row: Readonly<Record<string, unknown>>;
}

const STRUCTURE = /["\\{}[\]]/g;

/**
 * Yields the rows of an export (see docs/api.md) while its text arrives, so that an export of any size needs the memory of one row.
 * The text is Plinth's own, so it is JSON.
 */
export async function* readExport(chunks: AsyncIterable<string>): AsyncGenerator<ExportedRow> {
  let text = "";
  let position = 0;
  /** Open brackets, outermost first. */
  let open = "";
  let string = -1;
  let row = -1;
  const keys = ["", ""];
  for await (const chunk of chunks) {
    text += chunk;
    STRUCTURE.lastIndex = position;
    position = text.length;
    for (let found = STRUCTURE.exec(text); found; found = STRUCTURE.exec(text)) {
      const [character] = found;
      const { index } = found;
      if (character === "\\") {
        // The escaped character may be in the next chunk.
        if (index + 1 === text.length) {
          position = index;
          break;
        }
        STRUCTURE.lastIndex = index + 2;
      } else if (character === '"') {
        if (string >= 0 && open.length <= 2)
          keys[open.length - 1] = JSON.parse(text.slice(string, index + 1));
        string = string < 0 ? index : -1;
      } else if (string < 0) {
        if (character === "{" && beginsRow(open, keys[0]!) && row < 0) row = index;
        open = character === "{" || character === "[" ? open + character : open.slice(0, -1);
        if (row >= 0 && character === "}" && beginsRow(open, keys[0]!)) {
          yield { table: open === "{{[" ? keys[1]! : keys[0]!, row: JSON.parse(text.slice(row, index + 1)) };
          row = -1;
        }
      }
    }
    const kept = row >= 0 ? row : string >= 0 ? string : position;
    text = text.slice(kept);
    position -= kept;
    if (row >= 0) row = 0;
    if (string >= 0) string -= kept;
  }
}

/** Whether an object here is a row: in a list of `tables`, in a list at the top, or the only member of its kind at the top. */
const beginsRow = (open: string, key: string): boolean =>
  open === "{{[" || open === "{[" || (open === "{" && key !== "tables");
