import { chooseFreePort } from "../../src/database/embedded/port.ts";

/**
 * Free ports for servers that start later, or start again. None of them is in the range from which the system takes ports for outgoing
 * connections and for servers without a port of their own, which would take it in the meantime.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await chooseFreePort());
  return [...ports];
}
