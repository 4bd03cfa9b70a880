export type { KisBody, KisRow } from './body.ts';
export { createKisClient, type KisClient } from './client.ts';
export { type KisErrorInfo, toErrorInfo, toLegacyList } from './legacy.ts';
export type { KisClientOptions, KisHttpOptions } from './options.ts';
export type { KisItem, KisMarket } from './requests.ts';
export type { KisResult } from './result.ts';
export { KIS_RULES } from './rules.ts';
