/**
 * PostGraphile checks this variable while loading and prints a warning when it is not set. Its development mode adds checks
 * that help plugin authors and slow everything down, so it is opt-in. Import this file before anything from PostGraphile.
 */
process.env.GRAPHILE_ENV ??= "production";
