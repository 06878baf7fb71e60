/** Schemas shared by several families of operations (protocol section 36). */
import { Type } from '@sinclair/typebox';
import { limits } from './limits.ts';

export const UserId = Type.String({ minLength: 3, maxLength: 255, pattern: '^@[^:\\s]+:[^\\s]+$', description: 'Matrix user id' });
export const AppId = Type.String({ maxLength: 128, pattern: '^ma_[A-Za-z0-9]+(_[A-Za-z0-9]+)*$', description: 'Mini-app id' });
export const PaymentId = Type.String({ pattern: '^pay_[A-Za-z0-9]{1,64}$', description: 'Payment id' });
export const ChallengeId = Type.String({ pattern: '^mfa_ch_[A-Za-z0-9]{1,64}$', description: 'MFA challenge id' });
export const DeviceId = Type.String({
  minLength: 1,
  maxLength: limits.deviceIdBytes,
  pattern: '^[\\x21-\\x7e]+$',
  description: 'Device id, chosen by the client, unique per user',
});
export const Currency = Type.String({ pattern: '^[A-Z]{3}$', description: 'ISO 4217 code' });
/** In: a JSON number or a decimal string, major units. The exact rules are in `money.ts`. */
export const MoneyIn = Type.Union([Type.Number(), Type.String({ minLength: 1, maxLength: 32 })], { description: 'Amount in major units' });
/** Out: a JSON number in major units, exact. */
export const MoneyOut = Type.Number({ description: 'Amount in major units' });
export const Iso = Type.String({
  minLength: 20,
  maxLength: 35,
  pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$',
  description: 'RFC 3339 instant',
});
export const Limit = (max: number, standard: number) => Type.Optional(Type.Integer({ minimum: 1, maximum: max, default: standard }));
export const Offset = Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000, default: 0 }));
export const Pagination = Type.Object({ total: Type.Integer(), limit: Type.Integer(), offset: Type.Integer(), has_more: Type.Boolean() });

/** RFC 3339 text of an instant in epoch ms. */
export function toIso(at: number): string {
  return new Date(at).toISOString();
}
