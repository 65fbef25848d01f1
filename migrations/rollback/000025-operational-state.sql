drop function private.operational_state();
