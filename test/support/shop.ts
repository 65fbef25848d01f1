/** The tables of a small application beside Plinth's, as its own migrations would create them. */
export const SHOP = `
  create schema shop;
  comment on schema shop is 'A shop.';
  create type shop.order_state as enum ('open', 'paid');
  create domain shop.sku as text check (value ~ '^[A-Z]{3}-[0-9]{4}$');
  create table shop.products (
    id uuid primary key default plinth.uuid_v7(),
    sku shop.sku not null unique,
    seller_id uuid references identity.users on delete set null,
    price_cents integer not null check (price_cents > 0)
  );
  create table shop.orders (
    id uuid primary key default plinth.uuid_v7(),
    user_id uuid not null references identity.users on delete cascade,
    state shop.order_state not null default 'open',
    note text check (length(note) between 1 and 200),
    delivery_password text,
    created_at timestamptz not null default now()
  );
  create table shop.order_lines (
    id bigint generated always as identity primary key,
    order_id uuid not null references shop.orders on delete cascade,
    product_id uuid not null references shop.products,
    quantity integer not null check (quantity between 1 and 99)
  );
  create table shop.parcels (line_id bigint primary key references shop.order_lines, carrier text not null);
  create table shop.reviews (
    id uuid primary key default plinth.uuid_v7(),
    product_id uuid not null references shop.products on delete cascade,
    user_id uuid references identity.users on delete set null,
    stars smallint not null check (stars between 1 and 5)
  );
  create table shop.subscribers (id uuid primary key default plinth.uuid_v7(), account uuid not null, topic text not null);
  create table shop.visits (id uuid primary key default plinth.uuid_v7(), visitor uuid, page text not null);
  create table shop.risk_scores (
    user_id uuid primary key references identity.users on delete cascade, score integer not null
  );
  create table shop.offers (
    id uuid primary key default plinth.uuid_v7(), order_id uuid not null references shop.orders,
    product_id uuid not null references shop.products, discount integer not null
  );
  comment on table shop.orders is 'One row per order.';
  comment on column shop.orders.note is E'@dataExport omit: internal\\nA note of the shop.';
  comment on column shop.subscribers.account is '@userId delete';
  comment on column shop.visits.visitor is '@userId clear';
  comment on table shop.risk_scores is '@dataExport omit: fraud prevention';
  alter table shop.products enable row level security;
  alter table shop.orders enable row level security;
  alter table shop.order_lines enable row level security;
`;
