drop trigger _500_request_provider_cancellation on private.provider_subscriptions;
drop function
  private.finish_provider_cancellation(text, text, text),
  private.take_provider_cancellations(text, integer, interval),
  private.request_provider_cancellation();
drop table private.provider_cancellations;
