drop function
  private.import_models(jsonb, boolean),
  private.wanted_prices(jsonb),
  llm.models_price(llm.models, timestamptz, text);
drop view billing.current_model_prices;
drop table billing.model_prices;
