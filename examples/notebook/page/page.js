// A notebook in the browser: each cell is a text area and the table of its result.

const notebook = document.getElementById("notebook");
const pieces = await (await fetch("/notebook.json")).json();
const runs = [];
for (const [index, piece] of pieces.entries()) {
  if (piece.kind === "cell") addCell(piece.sql);
  else notebook.append(element(piece.kind === "text" ? "p" : index === 0 ? "h1" : "h2", piece.text));
}
document.getElementById("run-all").addEventListener("click", runAll);
await runAll();

async function runAll() {
  for (const run of runs) await run();
}

function addCell(sql) {
  const editor = element("textarea");
  editor.value = sql;
  editor.rows = sql.split("\n").length;
  editor.spellcheck = false;
  editor.setAttribute("aria-label", "SQL of a cell");
  const result = element("div");
  result.className = "result";
  const run = async () => {
    const response = await fetch("/run", {
      method: "POST",
      headers: { "content-type": "application/sql" },
      body: editor.value,
    });
    const answer = await response.json();
    result.replaceChildren(
      ...(response.ok ? tableOf(answer, barsOf(editor.value)) : errorOf(answer, editor.value)),
    );
  };
  editor.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    run();
  });
  runs.push(run);
  notebook.append(editor, result);
}

/** The column to draw, from a comment such as `-- bars: tokens`. */
function barsOf(sql) {
  return /^--\s*bars:\s*(\w+)/m.exec(sql)?.[1];
}

function tableOf({ columns, rows, hasMore }, bars) {
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const { name, isNumber } of columns) head.append(element("th", name, isNumber ? "number" : ""));
  const drawn = columns.findIndex(({ name }) => name === bars);
  const most = Math.max(...rows.map((row) => Math.abs(Number(row[drawn] ?? 0))));
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const [index, value] of row.entries())
      line.append(
        element(
          "td",
          value ?? "null",
          `${columns[index].isNumber ? "number" : ""} ${value === null ? "null" : ""}`,
        ),
      );
    if (drawn < 0) continue;
    const bar = element("td", "", "bar");
    bar.style.setProperty("--share", `${most > 0 ? (100 * Math.abs(Number(row[drawn] ?? 0))) / most : 0}%`);
    line.append(bar);
  }
  if (drawn >= 0) head.append(element("th"));
  const count = `${rows.length}${hasMore ? " of more" : ""} ${rows.length === 1 ? "row" : "rows"}`;
  return [table, element("p", count, "note")];
}

/** The server's message, and the line with the error. */
function errorOf({ error, position, hint }, sql) {
  const lines = position
    ? [...sql]
        .slice(0, position - 1)
        .join("")
        .split("\n")
    : [];
  const place = lines.length > 0 ? `Line ${lines.length}: ` : "";
  return [element("p", [place + error, hint].filter(Boolean).join("\n"), "error")];
}

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className.trim();
  return made;
}
