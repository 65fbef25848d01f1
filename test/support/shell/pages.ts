import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../../src/support/paths.ts";

/** A command of a shell block, which may have several lines, and the output that the page shows below it. */
export interface Command {
  readonly text: string;
  readonly shown: readonly string[];
}

export interface Block {
  /** Line of the page, for messages. */
  readonly line: number;
  readonly text: string;
  readonly commands: readonly Command[];
}

const GENERATED = /^docs\/(access-contract|licences|reference\/.*|schema\/.*)\.md$/;

/** Each page that people write and read beside the code. */
export function pagesOfTheRepository(): string[] {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], {
    cwd: PACKAGE_ROOT,
    encoding: "utf8",
  });
  return listed
    .split("\n")
    .filter((page) => page !== "" && !GENERATED.test(page))
    .sort();
}

export const readPage = (page: string): string => readFileSync(join(PACKAGE_ROOT, page), "utf8");

/** Blocks in a language that a shell runs, and transcripts: blocks without a language whose first line begins with `$ `. */
export function shellBlocks(page: string): Block[] {
  const blocks = fencedBlocks(readPage(page));
  return blocks.flatMap(({ language, text, line, index }) => {
    if (language === "" && text.startsWith("$ ")) return [{ line, text, commands: [transcript(text)] }];
    if (!SHELLS.includes(language)) return [];
    const next = blocks[index + 1];
    const commands = commandsOf(text);
    const last = commands.at(-1);
    // A block without a language, or with `text`, below it shows what its last command prints.
    if (last && next?.isBelow && ["", "text"].includes(next.language) && !next.text.startsWith("$ "))
      commands.splice(-1, 1, { ...last, shown: [...last.shown, ...linesOf(next.text)] });
    return [{ line, text, commands }];
  });
}

const SHELLS = ["sh", "bash", "console", "shell", "powershell"];

interface Fenced {
  readonly index: number;
  readonly language: string;
  readonly text: string;
  readonly line: number;
  /** Whether only prose that introduces its output, no heading, is between it and the block before. */
  readonly isBelow: boolean;
}

function fencedBlocks(markdown: string): Fenced[] {
  let end = 0;
  return [...markdown.matchAll(/^( *)```(\w*)\n(.*?)^\1```$/gms)].map((match, index) => {
    const [all, indent, language, text] = match;
    const between = markdown.slice(end, match.index).trim();
    end = match.index + all.length;
    return {
      index,
      language: language!,
      text: text!.replace(new RegExp(`^${indent}`, "gm"), ""),
      line: markdown.slice(0, match.index).split("\n").length,
      isBelow: between === "" || (between.endsWith(":") && !/^#/m.test(between)),
    };
  });
}

const linesOf = (text: string) => text.split("\n").filter((line) => line.trim() !== "");

/** `$ command`, perhaps over several lines that end with a backslash, and what it prints. */
function transcript(text: string): Command {
  const lines = text.slice(2).split("\n");
  const last = lines.findIndex((line) => !line.endsWith("\\"));
  return { text: lines.slice(0, last + 1).join("\n"), shown: linesOf(lines.slice(last + 1).join("\n")) };
}

/**
 * The commands of a block. Lines that begin with `# ` directly below a command are what it prints; above a command, they explain it.
 */
function commandsOf(text: string): Command[] {
  const commands: { text: string; shown: string[] }[] = [];
  let open = "";
  let mayShow = false;
  for (const line of text.split("\n")) {
    if (open === "" && /^\s*(#|$)/.test(line)) {
      const [, shown] = /^# (.*)$/.exec(line) ?? [];
      mayShow &&= shown !== undefined;
      if (mayShow) commands.at(-1)!.shown.push(shown!);
      continue;
    }
    open += `${line}\n`;
    if (line.endsWith("\\") || !isWhole(open)) continue;
    commands.push({ text: open.trimEnd(), shown: [] });
    open = "";
    mayShow = true;
  }
  if (open !== "") throw new Error(`The shell cannot read this block to its end:\n${text}`);
  return commands;
}

/** What closes each part of the shell's language that can go on in the next line. */
const CLOSES: Readonly<Record<string, string>> = { "'": "'", '"': '"', "(": ")", "{": "}" };

/** Whether a text of the shell ends outside quotes, brackets and braces. */
export function isWhole(text: string): boolean {
  const open: string[] = [];
  for (let at = 0; at < text.length; at++) {
    const inner = open.at(-1);
    const here = text[at]!;
    if (inner === "'" ? here === "'" : here === CLOSES[inner ?? ""]) open.pop();
    else if (inner === "'") continue;
    else if (here === "\\") at++;
    else if (inner === '"') {
      // Within double quotes, only $( begins something.
      if (here === "(" && text[at - 1] === "$") open.push(here);
    } else if (here === "#" && /(^|\s)$/.test(text.slice(0, at))) at = text.indexOf("\n", at) - 1;
    else if (here === "{" && text[at - 1] === "$") open.push(here);
    else if (here in CLOSES && (here !== "{" || /\s/.test(text[at + 1] ?? "\n"))) open.push(here);
  }
  return open.length === 0;
}
