const PAGES = [
  ["library.md", "`plinth`: start Plinth in your process, `plinth.config`, jobs, mail, errors"],
  ["graphile.md", "`plinth/graphile`: building blocks of plugins"],
  ["testing.md", "`plinth/testing`: a database and an API for tests"],
  [
    "client.md",
    "`plinth/client`: sign-in, requests, subscriptions and streamed answers in browsers and Node",
  ],
  ["client-graphql.md", "`plinth/client/graphql`: documents with types"],
  ["commands.md", "all commands with their options"],
  ["../settings.md", "all settings"],
  ["../../migrations/schema/schema.graphql", "the GraphQL schema, with a description of each field"],
  ["../errors.md", "error codes"],
  ["sql.md", "SQL functions for applications"],
  ["../schema/README.md", "tables, views, keys, policies and grants"],
  ["../analytics.md", "views for analysts"],
  ["../jobs.md", "jobs and their times"],
  ["../access-contract.md", "access of each role"],
] as const;

/** The list of everything that can be looked up. */
export function indexPage(): string {
  const rows = PAGES.map(([path, contents]) => `| [${path.split("/").at(-1)}](${path}) | ${contents} |`);
  return `# Reference\n\n${["| Page | Contents |", "| --- | --- |", ...rows].join("\n")}\n`;
}
