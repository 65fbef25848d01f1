import type { IncomingHttpHeaders } from "node:http";
import {
  type Attributes,
  type Context,
  context,
  isSpanContextValid,
  ProxyTracerProvider,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { PLINTH_VERSION } from "../support/version.ts";

/** Undefined while the process has no OpenTelemetry SDK; then every function here returns at once and allocates nothing. */
let tracer: Tracer | undefined;

/** Looks for an SDK, which the operator or the application registers before Plinth starts. Called at each start of a part. */
export function findTracer(): void {
  const provider = trace.getTracerProvider();
  const isSilent =
    provider instanceof ProxyTracerProvider &&
    provider.getDelegate() === new ProxyTracerProvider().getDelegate();
  tracer = isSilent ? undefined : trace.getTracer("plinth", PLINTH_VERSION);
}

/** Whether the process has an SDK. */
export const isTracing = (): boolean => tracer !== undefined;

/** A span that other spans can be children of. */
export interface OpenSpan {
  readonly span: Span;
  readonly context: Context;
}

/** Opens the span of an HTTP request, as a child of its caller's trace if the headers name a valid one. */
export function startRequestSpan(
  headers: IncomingHttpHeaders,
  method: string,
  path: string,
): OpenSpan | undefined {
  if (!tracer) return undefined;
  // Without the caller's baggage, which would be passed on to other services.
  const parent = propagation.deleteBaggage(propagation.extract(ROOT_CONTEXT, headers));
  const attributes = { "http.request.method": method, "url.path": path };
  const span = tracer.startSpan(method, { kind: SpanKind.SERVER, attributes }, parent);
  return { span, context: trace.setSpan(parent, span) };
}

/** Ends the span of an HTTP request. */
export function endRequestSpan(opened: OpenSpan | undefined, status: number): void {
  if (!opened) return;
  const { span } = opened;
  span.setAttribute("http.response.status_code", status);
  if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}

/** Runs work in which `startSpan` opens children of a span. */
export function runInSpan<T>(opened: OpenSpan | undefined, work: () => T): T {
  return opened ? context.with(opened.context, work) : work();
}

/** Opens a child of the current span; returns undefined outside a span, so that idle work makes no traces. */
export function startSpan(name: string, kind = SpanKind.INTERNAL): Span | undefined {
  if (!tracer || !trace.getSpan(context.active())) return undefined;
  return tracer.startSpan(name, { kind });
}

/** Runs a statement in a child of the current span, if there is one. Its text may hold literals, so only its name is kept. */
export async function inStatementSpan<T>(run: () => Promise<T>, name?: string): Promise<T> {
  const span = startSpan("statement", SpanKind.CLIENT);
  if (!span) return run();
  span.setAttribute("db.system.name", "postgresql");
  if (name) span.setAttribute("plinth.statement", name);
  try {
    return await run();
  } catch (error) {
    failSpan(span, error);
    throw error;
  } finally {
    span.end();
  }
}

/** Runs work in a span of its own: a child of the current span, or the root of a new trace. */
export async function inSpan<T>(
  name: string,
  options: { readonly kind?: SpanKind; readonly attributes?: Attributes },
  work: (span: Span | undefined) => Promise<T>,
): Promise<T> {
  if (!tracer) return work(undefined);
  const span = tracer.startSpan(name, options);
  try {
    return await context.with(trace.setSpan(context.active(), span), () => work(span));
  } catch (error) {
    failSpan(span, error);
    throw error;
  } finally {
    span.end();
  }
}

/** Runs work in a child of the current span, if there is one. */
export function inChildSpan<T>(name: string, work: () => Promise<T>): Promise<T> {
  return tracer && trace.getSpan(context.active()) ? inSpan(name, {}, work) : work();
}

/** Marks a span as failed. Messages of errors can quote values, so only the code is kept. */
export function failSpan(span: Span | undefined, error: unknown): void {
  if (!span) return;
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  span.setStatus({ code: SpanStatusCode.ERROR });
  span.setAttribute("error.type", String(code ?? name ?? "Error").slice(0, 64));
}

/** The id of a span's trace, for the log. */
export function traceIdOf(opened: OpenSpan | undefined): string | undefined {
  const spanContext = opened?.span.spanContext();
  return spanContext && isSpanContextValid(spanContext) ? spanContext.traceId : undefined;
}

/** Headers that pass the current trace on to another service; none without an SDK. */
export function traceHeaders(): Record<string, string> {
  const headers: Record<string, string> = {};
  if (tracer) propagation.inject(context.active(), headers);
  return headers;
}

export { SpanKind } from "@opentelemetry/api";
