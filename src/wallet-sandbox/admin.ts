/** The sandbox's admin doors: faults, set-up, recount. For tests and `tmcp dev`; never part of a real wallet. */
import { Type, type Static, type TSchema } from '@sinclair/typebox';
import { TypeCompiler, type TypeCheck } from '@sinclair/typebox/compiler';
import { knownCurrencies } from '../protocol/money.ts';
import { chargeView, refuse, type Decision } from './bank.ts';
import type { Engine, Reply } from './engine.ts';
import { faultSchema, type FaultBody, type Faults } from './faults.ts';
import type { Transaction } from './ledger.ts';

/** Most charges that one answer of `GET /admin/charges` lists. */
const maxListed = 1_000;

const accountSchema = Type.Object(
  {
    user_id: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
    app_id: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
    currency: Type.Union(knownCurrencies().map((code) => Type.Literal(code))),
    balance_minor: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
    status: Type.Optional(Type.Union([Type.Literal('active'), Type.Literal('pending'), Type.Literal('suspended')])),
  },
  { additionalProperties: false },
);
type AccountBody = Static<typeof accountSchema>;

const checks = { fault: TypeCompiler.Compile(faultSchema), account: TypeCompiler.Compile(accountSchema) };

/** Answers one request below `/admin`. `path` is without that prefix. */
export async function handleAdmin(
  engine: Engine,
  faults: Faults,
  request: { method: string; path: string; query: string; body: unknown },
): Promise<Reply> {
  switch (`${request.method} ${request.path}`) {
    case 'GET /faults':
      return reply(200, { faults: faults.list() });
    case 'POST /faults': {
      const problem = problemOf(checks.fault, request.body);
      if (problem !== undefined) return replyTo(problem);
      faults.add(request.body as FaultBody);
      return reply(201, { faults: faults.list() });
    }
    case 'DELETE /faults':
      faults.clear();
      return reply(200, { faults: [] });
    case 'POST /accounts': {
      const problem = problemOf(checks.account, request.body);
      return problem === undefined ? setUp(engine, request.body as AccountBody) : replyTo(problem);
    }
    case 'GET /charges':
      return engine.change(() => ({
        status: 200,
        body: chargesOf(engine, new URLSearchParams(request.query).get('reference')),
        events: [],
      }));
    case 'GET /ledger':
      return engine.change((bank) => ({ status: 200, body: bank.ledger.recount(), events: [] }));
    case 'POST /reset':
      await engine.reset();
      return reply(200, { reset: true });
    default:
      return replyTo(refuse('not_found'));
  }
}

async function setUp(engine: Engine, body: AccountBody): Promise<Reply> {
  const { user_id: userId, app_id: appId } = body;
  if (userId !== undefined && appId === undefined)
    return engine.change((bank) => bank.setUser(userId, body.currency, body.balance_minor, body.status));
  if (appId !== undefined && userId === undefined)
    return engine.change((bank) => bank.setMerchant(appId, body.currency, body.balance_minor));
  return replyTo(refuse('invalid_request', 'exactly one of user_id and app_id'));
}

/** Every booked charge, or those under one reference: counted in the entries, not in the index that is to keep them unique. */
function chargesOf(engine: Engine, reference: string | null): unknown {
  const booked = engine.ledger.transactions.filter(isCharge).filter((txn) => reference === null || txn.reference === reference);
  const refusal = reference === null ? undefined : engine.ledger.refusals.get(reference);
  return { total: booked.length, charges: booked.slice(-maxListed).map(chargeView), ...(refusal === undefined ? {} : { refusal }) };
}

function isCharge(txn: Transaction): txn is Extract<Transaction, { type: 'charge' }> {
  return txn.type === 'charge';
}

function problemOf(check: TypeCheck<TSchema>, body: unknown): Decision | undefined {
  if (check.Check(body)) return undefined;
  const first = check.Errors(body).First();
  return refuse('invalid_request', first === undefined ? undefined : `${first.path || 'body'}: ${first.message}`);
}

function reply(status: number, body: unknown): Reply {
  return { kind: 'answer', status, body: JSON.stringify(body), replayed: false };
}

function replyTo(decision: Decision): Reply {
  return reply(decision.status, decision.body);
}
