// The ledger's rules again, as plain lists and loops: nothing is stored that can be counted.

export interface Grant {
  id: string;
  amount: number;
  consumed: number;
  priority: number;
  starts: number;
  expires: number;
  source: string | null;
  closed: boolean;
}
export interface Hold {
  id: string;
  max: number;
  parts: Part[];
  state: "open" | "settled" | "released" | "expired";
  expires: number;
}
export interface Usage {
  id: string;
  occurred: number;
  /** The current estimate, in and out. */
  counts: readonly [number, number];
  overdraft: number;
  /** Every charge, negative ones too, oldest first. */
  charges: Part[];
}
export type Part = [grant: string, tokens: number];

/** Thrown where SQL raises. */
export class Refused extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

export class LedgerModel {
  readonly grants: Grant[] = [];
  readonly holds: Hold[] = [];
  readonly usages: Usage[] = [];
  now = 0;

  /** All changes that only need time. */
  at(now: number): this {
    this.now = now;
    for (const hold of this.holds) if (hold.state === "open" && hold.expires <= now) hold.state = "expired";
    return this;
  }

  heldOf(grant: Grant): number {
    let held = 0;
    for (const hold of this.holds)
      if (hold.state === "open") for (const [id, tokens] of hold.parts) if (id === grant.id) held += tokens;
    return held;
  }

  free(grant: Grant): number {
    return grant.amount - grant.consumed - this.heldOf(grant);
  }

  inForce(): Grant[] {
    return this.grants
      .map((grant, age) => ({ grant, age }))
      .filter(({ grant }) => grant.starts <= this.now && grant.expires > this.now)
      .sort(
        (a, b) =>
          a.grant.priority - b.grant.priority ||
          (a.grant.expires === b.grant.expires ? 0 : a.grant.expires - b.grant.expires) ||
          a.age - b.age,
      )
      .map(({ grant }) => grant);
  }

  available(): number {
    return this.inForce().reduce((sum, grant) => sum + this.free(grant), 0);
  }

  private plan(tokens: number): { parts: Part[]; missing: number } {
    const parts: Part[] = [];
    let missing = tokens;
    for (const grant of this.inForce()) {
      const take = Math.min(missing, this.free(grant));
      if (take <= 0) continue;
      parts.push([grant.id, take]);
      missing -= take;
    }
    return { parts, missing };
  }

  private charge(parts: readonly Part[]): void {
    for (const [id, tokens] of parts) this.grants.find((grant) => grant.id === id)!.consumed += tokens;
  }

  reserve(max: number): Part[] {
    const { parts, missing } = this.plan(max);
    if (missing > 0) throw new Refused("PL402");
    return parts;
  }

  use(counts: readonly [number, number], occurred: number, pinned: readonly Part[] = []): Usage {
    let left = counts[0] + counts[1];
    const charges: Part[] = [];
    for (const [id, tokens] of pinned) {
      const take = Math.min(left, tokens);
      if (take > 0) charges.push([id, take]);
      left -= take;
    }
    this.charge(charges);
    const { parts, missing } = this.plan(left);
    this.charge(parts);
    const usage = {
      id: "",
      occurred: Math.min(occurred, this.now),
      counts,
      overdraft: missing,
      charges: [...charges, ...parts],
    };
    this.usages.push(usage);
    return usage;
  }

  settle(hold: Hold, counts: readonly [number, number], occurred: number): Usage {
    if (hold.state === "released" || hold.state === "settled") throw new Refused("PL409");
    const pinned = hold.state === "open" ? hold.parts : [];
    hold.state = "settled";
    return this.use(counts, occurred, pinned);
  }

  release(hold: Hold): void {
    if (hold.state === "settled") throw new Refused("PL409");
    if (hold.state === "open") hold.state = "released";
  }

  correct(usage: Usage, counts: readonly [number, number]): void {
    const difference = counts[0] + counts[1] - usage.counts[0] - usage.counts[1];
    usage.counts = counts;
    if (difference > 0) {
      const { parts, missing } = this.plan(difference);
      this.charge(parts);
      usage.charges.push(...parts);
      usage.overdraft += missing;
      return;
    }
    const forgiven = Math.min(-difference, usage.overdraft);
    usage.overdraft -= forgiven;
    let back = -difference - forgiven;
    const order = usage.charges.filter(([, tokens]) => tokens > 0).map(([id]) => id);
    for (const id of [...new Set(order.reverse())]) {
      const net = usage.charges.reduce((sum, [each, tokens]) => (each === id ? sum + tokens : sum), 0);
      const take = Math.min(net, back);
      if (take <= 0) continue;
      this.charge([[id, -take]]);
      usage.charges.push([id, -take]);
      back -= take;
    }
  }

  close(source: string, closedAt: number, limit: number): number {
    const found = this.grants
      .map((grant, age) => ({ grant, age }))
      .filter(
        ({ grant }) =>
          grant.source === source && !grant.closed && grant.starts <= closedAt && grant.expires >= closedAt,
      )
      .sort(
        (a, b) =>
          Number(b.grant.starts < closedAt) - Number(a.grant.starts < closedAt) ||
          b.grant.starts - a.grant.starts ||
          b.age - a.age,
      )[0]?.grant;
    if (!found) return 0;
    const carried = found.amount === Infinity ? 0 : Math.max(0, Math.min(this.free(found), limit));
    found.expires = closedAt;
    found.closed = true;
    return carried;
  }

  /** Tokens used in [from, to). */
  used(from: number, to: number): number {
    return this.usages.reduce(
      (sum, { occurred, counts }) => (occurred >= from && occurred < to ? sum + counts[0] + counts[1] : sum),
      0,
    );
  }
}
