import { data, functions, idOf, relations, schemas, types } from "./data.js";
import { h, link } from "./dom.js";
import { homeView } from "./home-view.js";
import { missingView } from "./missing-view.js";
import { relationView } from "./relation-view.js";
import { schemaView } from "./schema-view.js";
import { searchBox } from "./search-box.js";
import { sidebar } from "./sidebar.js";

// Every address is a fragment, #identity.users.email, so the page works from a file and below any path.

const { nav, mark } = sidebar();
const main = h("main", { id: "main" });
const menu = h(
  "button",
  {
    type: "button",
    class: "menu",
    "aria-controls": "contents",
    "aria-expanded": "false",
    click: () => toggle(),
  },
  "Contents",
);

/** @param {boolean} isOpen */
function toggle(isOpen = menu.getAttribute("aria-expanded") !== "true") {
  menu.setAttribute("aria-expanded", String(isOpen));
  document.body.classList.toggle("has-menu", isOpen);
}

/** @param {string} id */
function view(id) {
  if (id === "") return { title: "", page: "", children: homeView() };
  const schema = schemas.get(id);
  if (schema) return { title: schema.name, page: id, children: schemaView(schema, id) };
  const [first = "", second = ""] = id.split(".");
  const table = `${first}.${second}`;
  const relation = relations.get(table);
  if (relation && (id === table || relation.columns.some(({ name }) => id === `${table}.${idOf(name)}`)))
    return { title: `${relation.schema}.${relation.name}`, page: table, children: relationView(relation) };
  const part = functions.get(id) ?? types.get(id);
  const owner = part && schemas.get(idOf(part.schema));
  if (part && owner)
    return { title: `${part.schema}.${part.name}`, page: first, children: schemaView(owner, first) };
  return { title: "Not found", page: "", children: missingView(id) };
}

let shown = "none";

/** Shows the page of the address, and in it the column, function or type that the address names. */
function show(isFirst = false) {
  const id = location.hash.slice(1);
  const { title, page, children } = view(id);
  if (page !== shown || page === "") {
    main.replaceChildren(...children.flat().filter((child) => child instanceof Node));
    shown = page;
    mark(page);
    scrollTo(0, 0);
  }
  document.title = title ? `${title} · ${data.title} schema` : `${data.title} schema`;
  toggle(false);
  for (const each of main.querySelectorAll(".is-target")) each.classList.remove("is-target");
  const target = id !== page && document.getElementById(id);
  if (target) {
    target.classList.add("is-target");
    target.scrollIntoView({ block: "center" });
  }
  // A reader of the screen begins at what is new.
  if (!isFirst)
    (target ? target.querySelector("a") : main.querySelector("h1"))?.focus({ preventScroll: true });
}

document.body.append(
  h(
    "a",
    {
      href: "#main",
      class: "skip",
      click: (event) => {
        event.preventDefault();
        main.querySelector("h1")?.focus();
      },
    },
    "Skip to content",
  ),
  h(
    "header",
    { class: "bar" },
    link("", h("b", {}, data.title), " schema"),
    searchBox((id) => {
      location.hash = id;
    }),
    menu,
  ),
  h("div", { class: "layout" }, nav, main),
);
addEventListener("hashchange", () => show());
addEventListener("beforeprint", () => {
  for (const details of main.querySelectorAll("details")) details.open = true;
});
show(true);
