drop schema shop cascade;
delete from access.permissions where permission_name in ('manage_products', 'manage_orders');
