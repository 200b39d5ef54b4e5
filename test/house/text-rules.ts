/** House rules that read nothing but text: each takes a path and its text and returns what breaks the rule. */
import { posix } from "node:path";

export type TextRule = (path: string, text: string) => readonly string[];

const spelled = (...words: readonly string[]): RegExp => new RegExp(`\\b(${words.join("|")})\\b`);
const OWNERLESS = /^(utils|helpers|common|types)(\.|$)/;
const EMPTY_WORD = /^export\s+(?:abstract\s+)?(?:interface|type|class)\s+(\w*(?:Manager|Handler|Helper|Data|Info))\b/gm;
// Spelled in parts: this file obeys them too.
const LEFT_OVER = spelled(["TO", "DO"].join(""), ["FIX", "ME"].join(""), ["X", "XX"].join(""));
const SWITCHED_OFF = /\b(?:it|test|describe)(?:\.each|\.concurrent)*\.(?:skip|only|todo|failing)\b|\b[xf](?:it|test|describe)\(/;
const MESSAGE = /new OperatorError\(\s*"[a-z-]+",\s*(["'`])(?!Cannot |\$\{)(.{0,40})/g;
const LINK = /\]\((?!https?:|mailto:|#)([^)\s]+?)(?:#[^)]*)?\)/g;

const lines = (path: string, text: string, pattern: RegExp): readonly string[] =>
  text.split("\n").flatMap((line, n) => (pattern.test(line) ? [`${path}:${n + 1}: ${line.trim()}`] : []));

export const ownerlessName: TextRule = (path) =>
  path.split("/").some((segment) => OWNERLESS.test(segment)) ? [`${path}: the name hides an undecided owner`] : [];

export const emptyWord: TextRule = (path, text) => [...text.matchAll(EMPTY_WORD)].map(([, name]) => `${path}: ${name}`);

export const tooLong: TextRule = (path, text) => {
  const count = text.replace(/\n$/, "").split("\n").length;
  return count > 250 ? [`${path}: ${count} lines`] : [];
};

export const leftOver: TextRule = (path, text) => lines(path, text, LEFT_OVER);
export const switchedOff: TextRule = (path, text) => lines(path, text, SWITCHED_OFF);

export const message: TextRule = (path, text) =>
  [...text.matchAll(MESSAGE)].map(([, , start]) => `${path}: a message starts with "Cannot", not "${start}"`);

/** Doc comment first: what the file keeps true. */
export const noOpening: TextRule = (path, text) =>
  /^(#!.*\n)?(\/\*\*|\/\/)/.test(text) ? [] : [`${path}: opens without a comment`];

/** Targets of relative links, relative to the root; fenced and quoted code is not read. */
export function linksOf(path: string, text: string): readonly string[] {
  const prose = text.replace(/^(```|~~~)[\s\S]*?^\1/gm, "").replace(/`[^`\n]*`/g, "");
  return [...prose.matchAll(LINK)].map(([, target = ""]) => posix.join(posix.dirname(path), decodeURI(target)));
}
