// The minimum work of any ledger with holds and idempotency keys: a balance and a new hold; the hold and the balance. No events,
// totals, prices or limits. Both ledger benchmarks compare Plinth's with it.

/** @param users SQL that selects the ids of its users */
export const bareLedger = (users: string) => `
  create table bench.balances (id uuid primary key, available bigint check (available >= 0), held bigint) with (fillfactor = 50);
  insert into bench.balances select id, 1000000000000, 0 from (${users}) users (id);
  create table bench.holds (
    id uuid primary key default plinth.uuid_v7(), balance_id uuid, key text, tokens bigint, used bigint, state text default 'open',
    unique (balance_id, key)
  ) with (fillfactor = 70);
  create function bench.hold(balance uuid, key text) returns uuid language plpgsql set search_path = pg_catalog as $$
  declare
    v_id uuid;
  begin
    update bench.balances b set available = b.available - 1000, held = b.held + 1000 where b.id = balance;
    insert into bench.holds (balance_id, key, tokens) values (balance, hold.key, 1000) returning id into v_id;
    return v_id;
  end $$;
  create function bench.settle(hold uuid, used bigint) returns void language plpgsql set search_path = pg_catalog as $$
  declare
    v_balance uuid;
  begin
    update bench.holds h set state = 'settled', used = settle.used where h.id = hold and h.state = 'open'
    returning h.balance_id into v_balance;
    update bench.balances b set available = b.available + 1000 - used, held = b.held - 1000 where b.id = v_balance;
  end $$;`;
