/** Commands of pages that another test runs as the page shows them. */
export interface Elsewhere {
  readonly page: string;
  readonly commands?: RegExp;
  readonly test: string;
}

export const ELSEWHERE: readonly Elsewhere[] = [
  { page: "docs/client.md", commands: /^npx plinth schema types/, test: "test/cli/schema-types.test.ts" },
  { page: "docs/documents.md", test: "test/cli/documents.test.ts" },
  { page: "docs/extend.md", test: "test/package/extend.test.ts" },
  { page: "docs/moving-in.md", test: "test/docs/moving-in.test.ts" },
  {
    page: "docs/backups.md",
    commands: /^(pg_basebackup|psql|cp|touch|npx plinth restore rows) /,
    test: "test/docs/backups.test.ts",
  },
  {
    page: "docs/operations.md",
    commands: /^(pg_dump|createdb|pg_restore|npx plinth (migrate|compat enable)) ?/,
    test: "test/docs/backups.test.ts",
  },
  { page: "docs/operations.md", commands: /^npx plinth uninstall/, test: "test/database/uninstall.test.ts" },
  { page: "docs/backups.md", commands: /from-certificates/, test: "test/docs/shell/database.ts" },
  {
    page: "docs/analytics.md",
    commands: /METABASE_URL|metabase\.mjs/,
    test: "test/deploy/analytics.test.ts",
  },
  {
    page: "templates/application/README.md",
    commands: /^npm (start|run migrate)/,
    test: "test/cli/init.test.ts",
  },
];
