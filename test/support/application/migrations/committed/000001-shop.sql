--! Previous: -
--! Hash: sha1:8e2712d76bb8c814a4f75b72a327e05cab1bcadd
--! Message: shop

create schema shop;
comment on schema shop is 'Products and orders.';
grant usage on schema shop to :PLINTH_ANONYMOUS, :PLINTH_USER, :PLINTH_WORKER;

create type shop.order_state as enum ('open', 'paid', 'closed');
comment on type shop.order_state is 'State of an order.';

create table shop.products (
  id uuid primary key default plinth.uuid_v7(),
  product_name text not null,
  price_cents integer not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint products_product_name_key unique (product_name),
  constraint products_price_is_positive check (price_cents > 0)
);
comment on table shop.products is 'One row per product.';

create table shop.orders (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  product_id uuid not null references shop.products,
  quantity integer not null,
  state shop.order_state not null default 'open',
  thanked_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint orders_quantity_is_positive check (quantity > 0)
);
create index orders_user_id_created_at_idx on shop.orders (user_id, created_at);
create index orders_product_id_idx on shop.orders (product_id);
comment on table shop.orders is E'@ownRows user_id manage_orders\nOne row per order.';
comment on column shop.orders.user_id is 'The customer.';

insert into access.permissions (permission_name, description) values
  ('manage_products', 'Add, change and delete products.'),
  ('manage_orders', 'Read all orders.');

--! Included shop/policies/products.sql
revoke all on shop.products from :PLINTH_ANONYMOUS, :PLINTH_USER;
select plinth.readable_by_all('shop.products');
select plinth.with_permission(
  'shop.products',
  'manage_products',
  'insert (product_name, price_cents), update (product_name, price_cents), delete'
);
select plinth.keep_updated_at('shop.products');
select plinth.track_changes('shop.products');
--! EndIncluded shop/policies/products.sql
--! Included shop/policies/orders.sql
revoke all on shop.orders from :PLINTH_ANONYMOUS, :PLINTH_USER;
select plinth.own_rows('shop.orders', grants => 'select, insert (product_id, quantity), update (quantity)');
select plinth.with_permission('shop.orders', 'manage_orders', 'select');
select plinth.keep_updated_at('shop.orders');
select plinth.track_changes('shop.orders', owner_column => 'user_id');
--! EndIncluded shop/policies/orders.sql
--! Included shop/views/product_sales.sql
create or replace view shop.product_sales with (security_invoker = true) as
select o.product_id, count(*)::integer as orders, sum(o.quantity)::integer as quantity
from shop.orders o
group by o.product_id;

comment on view shop.product_sales is
  E'@primaryKey product_id\n@foreignKey (product_id) references shop.products (id)\nThe number of orders of each product that the caller may see.';
grant select on shop.product_sales to :PLINTH_USER;
--! EndIncluded shop/views/product_sales.sql
--! Included shop/functions/cancel_order.sql
-- With the rights of the owner, because users may not change the state themselves.
create or replace function shop.cancel_order(order_id uuid)
  returns shop.orders
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_order shop.orders;
begin
  update shop.orders o
  set state = 'closed'
  where o.id = order_id and o.user_id = plinth.current_user_id()
  returning * into v_order;
  if not found then
    raise exception 'You have no such order.' using errcode = 'PL404', column = 'order_id';
  end if;
  return v_order;
end
$$;

comment on function shop.cancel_order(uuid) is
  E'@resultFieldName order\nCloses an order of the caller. PL404 for any other.';
grant execute on function shop.cancel_order(uuid) to :PLINTH_USER;
--! EndIncluded shop/functions/cancel_order.sql
--! Included shop/functions/orders_total_cents.sql
create or replace function shop.orders_total_cents(o shop.orders)
  returns integer
  language sql
  stable
as $$
  select o.quantity * p.price_cents from shop.products p where p.id = o.product_id
$$;

comment on function shop.orders_total_cents(shop.orders) is 'The price of the whole order in cents.';
grant execute on function shop.orders_total_cents(shop.orders) to :PLINTH_USER;
--! EndIncluded shop/functions/orders_total_cents.sql
--! Included shop/functions/close_old_orders.sql
create or replace function shop.close_old_orders(batch_size integer)
  returns integer
  language sql
  security definer
  set search_path = pg_catalog
as $$
  with closed as (
    update shop.orders o
    set state = 'closed'
    where o.id in (
      select d.id
      from shop.orders d
      where d.state = 'open' and d.created_at < now() - interval '7 days'
      limit batch_size
      for update skip locked
    )
    returning o.id
  )
  select count(*)::integer from closed
$$;

comment on function shop.close_old_orders(integer) is 'Closes orders that were open for a week. Returns their number.';
grant execute on function shop.close_old_orders(integer) to :PLINTH_WORKER;
--! EndIncluded shop/functions/close_old_orders.sql
--! Included shop/functions/thank.sql
create or replace function shop.thank(order_id uuid)
  returns void
  language sql
  security definer
  set search_path = pg_catalog
as $$
  update shop.orders o set thanked_at = now() where o.id = order_id
$$;

comment on function shop.thank(uuid) is 'Notes that the customer of an order was thanked.';
grant execute on function shop.thank(uuid) to :PLINTH_WORKER;
--! EndIncluded shop/functions/thank.sql
--! Included shop/functions/request_thanks.sql
-- With the rights of the owner, who may queue jobs.
create or replace function shop.request_thanks()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform plinth.enqueue_job('thank-customer', jsonb_build_object('orderId', new.id));
  return null;
end
$$;

comment on function shop.request_thanks() is 'Trigger: queues the job that thanks the customer.';

create or replace trigger _600_request_thanks
  after insert on shop.orders
  for each row
  execute function shop.request_thanks();
--! EndIncluded shop/functions/request_thanks.sql
