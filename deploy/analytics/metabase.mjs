// Adds the analyst's connection to a Metabase: METABASE_URL and METABASE_API_KEY (of an administrator), PLINTH_ANALYST_URL.
const { METABASE_URL, METABASE_API_KEY, PLINTH_ANALYST_URL } = process.env;
if (!METABASE_URL || !METABASE_API_KEY || !PLINTH_ANALYST_URL) {
  console.error("Set METABASE_URL, METABASE_API_KEY and PLINTH_ANALYST_URL.");
  process.exit(1);
}

if (!URL.canParse(PLINTH_ANALYST_URL)) {
  console.error("PLINTH_ANALYST_URL must be the URL of one server: Metabase takes no list of hosts.");
  process.exit(1);
}
const { hostname, port, pathname, username, password, searchParams } = new URL(PLINTH_ANALYST_URL);
const sslMode = searchParams.get("sslmode") ?? "disable";
const database = {
  name: "Plinth",
  engine: "postgres",
  details: {
    host: hostname,
    port: Number(port || 5432),
    dbname: decodeURIComponent(pathname.slice(1)),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    // Other schemas have nothing that an analyst may read.
    "schema-filters-type": "inclusion",
    "schema-filters-patterns": "analytics",
    ssl: sslMode !== "disable",
    ...(sslMode !== "disable" && { "ssl-mode": sslMode }),
  },
};

const response = await fetch(new URL("/api/database", METABASE_URL), {
  method: "POST",
  headers: { "content-type": "application/json", "x-api-key": METABASE_API_KEY },
  body: JSON.stringify(database),
});
if (!response.ok) {
  console.error(`Metabase answered ${response.status}: ${await response.text()}`);
  process.exit(1);
}
console.log(`Added the database ${(await response.json()).id} to Metabase.`);
