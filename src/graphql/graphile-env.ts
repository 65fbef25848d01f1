/**
 * PostGraphile checks this variable while it is loaded and prints a paragraph when it is not set. Its development mode
 * adds checks that help who writes plugins and slow everybody else down, so it is only on when asked for. Import this
 * file before anything of PostGraphile's.
 */
process.env.GRAPHILE_ENV ??= "production";
