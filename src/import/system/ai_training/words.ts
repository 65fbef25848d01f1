/** A name of the old system as a name here: lower case, digits and the separator. Undefined if nothing of it remains. */
export function nameFrom(text: string, separator: "_" | "-", maxLength: number): string | undefined {
  const name = text
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .replaceAll("ß", "ss")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, separator)
    .slice(0, maxLength)
    .replace(/^[-_]+|[-_]+$/g, "");
  return name === "" ? undefined : name;
}

/** A name that must start with a letter, such as the code of a plan or the type of an event. */
export function codeFrom(text: string, maxLength: number): string | undefined {
  const name = nameFrom(text, "_", maxLength);
  return name !== undefined && /^[a-z]/.test(name) ? name : undefined;
}
