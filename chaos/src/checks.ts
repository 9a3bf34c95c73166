/** What must hold after a run, judged by its evidence alone. Pure. */
import { type Check, Indexed } from './checks/indexed.ts';
import {
  answersAreTrue,
  answersFit,
  enoughIsAccepted,
  everyOneIsAnswered,
  nothingUnasked,
} from './checks/what-callers-saw.ts';
import {
  booksAddUp,
  endsCleanly,
  memoryIsBack,
  noErrors,
  nothingIsLeft,
  processesAreKnown,
} from './checks/what-is-left.ts';
import {
  attemptsWithinRetries,
  keysAreOfOneRequest,
  keysGiveOneAnswer,
  lostIsMadeGood,
  neverTwoAtOnce,
  nothingBeyondTheAnswer,
  podsWereClaimed,
  ranOnce,
} from './checks/what-ran.ts';
import {
  acceptedEnds,
  callbacksAreTrue,
  callbacksCome,
  cancelsStay,
  endsStay,
  lettersAreKept,
} from './checks/what-was-enqueued.ts';
import type { Evidence } from './evidence.ts';

export function check(evidence: Evidence): Check[] {
  const e = new Indexed(evidence);
  return [
    everyOneIsAnswered(e),
    answersFit(e),
    answersAreTrue(e),
    nothingUnasked(e),
    enoughIsAccepted(e),
    acceptedEnds(e),
    endsStay(e),
    cancelsStay(e),
    callbacksCome(e),
    callbacksAreTrue(e),
    lettersAreKept(e),
    ranOnce(e),
    attemptsWithinRetries(e),
    nothingBeyondTheAnswer(e),
    lostIsMadeGood(e),
    keysGiveOneAnswer(e),
    keysAreOfOneRequest(e),
    neverTwoAtOnce(e),
    podsWereClaimed(e),
    nothingIsLeft(e),
    booksAddUp(e),
    memoryIsBack(e),
    processesAreKnown(e),
    endsCleanly(e),
    noErrors(e),
  ];
}
