/** Commands that run nowhere in the tests, by how they begin, and why. */
export interface Excuse {
  readonly commands: RegExp;
  readonly reason: string;
}

export const EXCUSED: readonly Excuse[] = [
  {
    commands: /^docker /,
    reason: "needs a container engine: test/deploy builds the image and checks compose.yaml",
  },
  { commands: /^sudo /, reason: "changes the system: test/deploy checks the units and create-secrets.sh" },
  { commands: /^kubectl /, reason: "needs a cluster: test/deploy checks kubernetes.yaml" },
  { commands: /^(pgbackrest|wal-g) /, reason: "is a program of others, which the tests do not install" },
  {
    commands: /^(superset|pip|jupyter) /,
    reason: "is a program of others: test/deploy/analytics.test.ts runs the notebook's queries",
  },
  {
    commands: /^npm (ci|install)\b/,
    reason: "takes packages from a registry: .ci/run and test/package/extend.test.ts do",
  },
  { commands: /^(TEST_\w+=\S+ )?npm test\b/, reason: "is the run that this test belongs to" },
  {
    commands: /^(NODE_OPTIONS="[^"]*" )?npm run (bench|release:\w+)\b/,
    reason: "takes minutes or writes a release: test/bench and test/release hold its parts",
  },
  {
    commands: /^npx plinth (migrate commit|schema dump|docs)\b/,
    reason: "writes into the folder of the migrations: test/database and test/schema-docs run it on copies",
  },
  {
    commands: /^npx tsc /,
    reason: "compiles the reader's application: test/cli/schema-types.test.ts compiles one",
  },
  {
    commands: /^(export|PLINTH_LLM_URL=)[^\n]*(example\.com|openai\.com|localhost|openssl rand)/,
    reason: "names a server of the reader: every-block.test.ts checks its settings",
  },
  {
    commands: /^psql "\$SUPERUSER_URL"|^npx plinth memory /,
    reason: "needs pgvector: test/llm/memory-vectors.test.ts runs it where the server has it",
  },
];
