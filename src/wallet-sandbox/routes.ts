/** The sandbox's public routes: from method and path to what runs, with the request's schema. No I/O. */
import type { TSchema } from '@sinclair/typebox';
import { TypeCompiler, type TypeCheck } from '@sinclair/typebox/compiler';
import {
  chargeRequestSchema,
  ensureAccountSchema,
  ensureMerchantSchema,
  maxPage,
  policyRequestSchema,
  refundRequestSchema,
  type ChargeBody,
  type PolicyBody,
  type RefundBody,
} from '../transport/tweenpay/contract.ts';
import { refuse, type Bank, type Decision } from './bank.ts';
import type { FaultOperation } from './faults.ts';

/** One request, understood as far as its path goes. */
export interface Route {
  readonly operation: FaultOperation;
  /** Needs an idempotency key. */
  readonly mutation: boolean;
  readonly schema?: TypeCheck<TSchema>;
  /** Decides on a body that fits the schema. */
  readonly decide: (bank: Bank, body: unknown, inProgress: (reference: string) => boolean) => Decision;
}

const checks = {
  ensureAccount: TypeCompiler.Compile(ensureAccountSchema),
  ensureMerchant: TypeCompiler.Compile(ensureMerchantSchema),
  policy: TypeCompiler.Compile(policyRequestSchema),
  charge: TypeCompiler.Compile(chargeRequestSchema),
  refund: TypeCompiler.Compile(refundRequestSchema),
};

const charges: Route = {
  operation: 'charge',
  mutation: true,
  schema: checks.charge,
  decide: (bank, body) => bank.charge(body as ChargeBody),
};
const policy: Route = {
  operation: 'policy',
  mutation: false,
  schema: checks.policy,
  decide: (bank, body) => bank.policy(body as PolicyBody),
};

/** The route of a request; undefined when the contract has none. `query` is without its question mark. */
export function routeOf(method: string, path: string, query: string): Route | undefined {
  if (method === 'POST' && path === '/v1/charges') return charges;
  if (method === 'POST' && path === '/v1/policy') return policy;
  if (method === 'GET' && path === '/v1/charges') {
    const reference = new URLSearchParams(query).get('reference') ?? '';
    return {
      operation: 'find',
      mutation: false,
      decide: (bank, _body, inProgress) =>
        reference.length === 0 || reference.length > 255
          ? refuse('invalid_request', 'reference: 1 to 255 characters')
          : bank.find(reference, inProgress(reference)),
    };
  }
  const [, version, collection, rawId, leaf, ...more] = path.split('/');
  const id = version === 'v1' && more.length === 0 ? decoded(rawId) : undefined;
  if (id === undefined) return undefined;
  switch (`${method} ${collection}/${leaf}`) {
    case 'GET users/account':
      return { operation: 'account', mutation: false, decide: (bank) => bank.account(id) };
    case 'PUT users/account':
      return {
        operation: 'account',
        mutation: true,
        schema: checks.ensureAccount,
        decide: (bank, body) => bank.ensureAccount(id, (body as { currency: string }).currency),
      };
    case 'PUT merchants/account':
      return {
        operation: 'account',
        mutation: true,
        schema: checks.ensureMerchant,
        decide: (bank, body) => bank.ensureMerchant(id, (body as { name: string }).name),
      };
    case 'GET users/transactions':
      return { operation: 'transactions', mutation: false, decide: (bank) => pageOf(bank, id, new URLSearchParams(query)) };
    case 'POST charges/refunds':
      return { operation: 'refund', mutation: true, schema: checks.refund, decide: (bank, body) => bank.refund(id, body as RefundBody) };
    default:
      return undefined;
  }
}

function pageOf(bank: Bank, userId: string, query: URLSearchParams): Decision {
  const limit = wholeNumber(query.get('limit') ?? '50');
  const offset = wholeNumber(query.get('offset') ?? '0');
  if (limit === undefined || offset === undefined || limit < 1 || limit > maxPage)
    return refuse('invalid_request', `limit: 1 to ${maxPage}; offset: 0 or more`);
  return bank.transactions(userId, limit, offset);
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function decoded(segment: string | undefined): string | undefined {
  if (segment === undefined) return undefined;
  try {
    const id = decodeURIComponent(segment);
    return id.length >= 1 && id.length <= 255 ? id : undefined;
  } catch {
    // A malformed escape names nothing.
    return undefined;
  }
}
