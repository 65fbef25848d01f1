import { statfs } from "node:fs/promises";
import { Gauge } from "prom-client";
import type { Metrics } from "./metrics.ts";

/** Adds the disk of a folder: the embedded server's data. */
export function addDiskMetrics({ registry, sample }: Metrics, folder: string): void {
  const registers = [registry];
  const free = new Gauge({
    name: "plinth_disk_free_bytes",
    help: "Free space for the embedded server's data; only with the embedded server.",
    registers,
  });
  const size = new Gauge({
    name: "plinth_disk_size_bytes",
    help: "Size of the disk with the embedded server's data; only with the embedded server.",
    registers,
  });
  sample(async () => {
    const { bavail, blocks, bsize } = await statfs(folder);
    free.set(bavail * bsize);
    size.set(blocks * bsize);
  });
}
