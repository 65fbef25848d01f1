// Targets: a start on existing data is ready (/readyz) in under 3 s, and a prompt library import takes under 5 s.
// Usage: node bench/start-and-import.ts [prompts.csv]
import { startPlinth } from "./support.ts";

const file = process.argv[2];
const plinth = await startPlinth();
try {
  const times: number[] = [];
  for (let i = 0; i < 5; i++) times.push(await plinth.restart());
  const median = times.toSorted((a, b) => a - b)[2] ?? Number.NaN;
  console.log(
    `start on existing data until /readyz: median ${median.toFixed(0)} ms of ${times.length} (target: under 3000)`,
  );
  if (file) {
    for (const run of ["first import", "second import (nothing changes)"]) {
      const started = performance.now();
      const code = await plinth.command("import", "prompts", file);
      if (code !== 0) throw new Error(`import exited with ${code}`);
      console.log(
        `${run}: ${(performance.now() - started).toFixed(0)} ms, command start included (target: under 5000)`,
      );
    }
  }
} finally {
  await plinth.stop();
}
