create index recovery_codes_user_id_idx on private.recovery_codes (user_id);
