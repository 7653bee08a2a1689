"""The commonest function words of a few languages: articles, pronouns, prepositions, auxiliaries.

The lists are short: they separate key terms, and distinguish languages.
"""

from collections.abc import Mapping
from typing import Final

_WORDS: Final = {
    "en": """
        a about above after again against all almost along also although always am among an and another any
        are around as at away be because been before behind being below between both but by can cannot could
        did do does doing don't down during each either enough even ever every few first for from further
        had has have having he her here hers herself him himself his how however i if in into is isn't it
        it's its itself just last least less like many may me might more most much must my myself near
        neither never no nor not now of off often on once one only or other others our ours out over own per
        perhaps quite rather same second several shall she should since so some still such than that the
        their theirs them themselves then there therefore these they this those though three through thus to
        together too two under until up upon us use used using very was we well were what when where whether
        which while who whom whose why will with within without would yet you your
    """,
    "de": """
        ab aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim bereits bin
        bis bist da dabei dadurch dafür damit danach dann daran darauf darin das dass dazu dein dem den denn
        der des deshalb dessen die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem
        einen einer eines einige er es etwa etwas euch für gegen gibt habe haben hat hatte hatten hier
        hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im immer in ins ist jede jedem jeden jeder jedes
        jedoch kann kein keine keinen können könnte man mehr mein mit muss müssen nach neben nicht nichts
        noch nun nur ob oder ohne schon sehr sein seine seinem seinen seiner seit sich sie sind so sogar
        solche soll sollen sollte sondern sowie über um und uns unser unter viel viele vom von vor war waren
        warum was weil weiter welche welcher wenn wer werden wie wieder will wir wird wo worden wurde wurden
        würde während zu zum zur zwar zwei zwischen
    """,
    "fr": """
        afin ai ainsi alors après au aucun aucune aussi autre autres aux avant avec avoir avait avaient
        c'est car ce ceci cela celle celles celui ces cet cette ceux chaque chez comme comment contre d'un
        d'une dans de depuis des deux donc dont du elle elles en encore enfin entre est et était étaient été
        être eu eux fait faire fois furent fut il ils je jusque l'on la là le les leur leurs lors lui mais
        me même mêmes mes moins mon ne ni non nos notre nous on ont or ou où par parce pas pendant peu peut
        peuvent plus plusieurs pour pourquoi pouvait près puis qu qu'il qu'elle quand que quel quelle
        quelles quels qui quoi sa sans se sera ses si sinon soit son sont sous souvent sur ta tandis te tous
        tout toute toutes très trois tu un une vers vos votre vous y à
    """,
    "es": """
        a al algo alguna algunas alguno algunos ante antes aquel aquella así aun aunque bajo bien cada casi
        como con contra cual cuales cuando cuanto de del desde después donde dos durante e el él ella ellas
        ellos en entonces entre era eran es esa esas ese eso esos esta está están estas este esto estos fue
        fueron ha había habían han hasta hay la las le les lo los luego más me mediante mi mientras mis
        mismo misma muy nada ni no nos nosotros nuestra nuestro nunca o os otra otras otro otros para pero
        poco por porque pues puede pueden que qué quien quienes se sea según ser si sí sido siempre sin sino
        sobre son su sus también tan tanto te tiene tienen toda todas todo todos tras tres tu un una unas
        uno unos usted y ya yo
    """,
    "it": """
        a abbiamo ad ai agli al alcuni alcune all alla alle allo altra altre altri altro anche ancora aveva
        avevano avere c'è che chi ci ciascuno ciò col come con contro cui da dai dagli dal dalla dalle dallo
        degli dei del della delle dello dentro di dopo dove dovere due dunque durante e è ed era erano
        essere essi fa fino fra già gli ha hanno i il in infatti invece io la le lei li lo loro lui ma
        mentre mi mio molto ne né negli nei nel nella nelle nello noi non nostra nostro o ogni oltre oppure
        per perché però più poi poiché può possono prima proprio qua quale quali quando quanto quasi quella
        quelle quelli quello questa queste questi questo qui se sempre senza si sia sono sopra sotto stata
        state stati stato su sua sue sugli sui sul sulla sulle suo suoi tra tre tu tutta tutte tutti tutto
        un una uno vi voi
    """,
    "nl": """
        aan al alle alleen als altijd andere bij dan dat de der deze die dit doch doen door dus een eens en
        er echter ge geen geweest haar had hadden heb hebben heeft hem hen het hier hij hoe hun iets ik in
        is ja je kan konden kunnen maar meer men met mij mijn moet moeten na naar niet niets nog nu of om
        omdat onder ons ook op over per reeds sinds te tegen tijdens toch toen tot tussen twee u uit uw van
        veel voor waar want waren was wat weer wel welke werd werden wie wij wil wordt worden zal ze zich
        zij zijn zo zoals zonder zou zouden
    """,
    "pt": """
        a à ainda ao aos apenas após aquela aquele aquilo as às assim até bem cada com como contra da das de
        dela dele deles depois desde dessa desse desta deste do dois dos durante e é ela elas ele eles em
        então entre era eram essa essas esse esses esta está estão estas este estes eu foi foram há isso
        isto já lhe mais mas me menos mesma mesmo meu minha muito muitos na nas não nem nenhum no nos nós
        nossa nosso num numa o onde os ou outra outras outro outros para pela pelas pelo pelos pode podem
        pois por porque portanto pouco qual quando que quem se seja sem sempre ser seu seus si sido só sob
        sobre são sua suas também tanto tem têm tinha toda todas todo todos três tu tudo um uma umas uns
        você
    """,
}

STOP_WORDS: Final[Mapping[str, frozenset[str]]] = {
    language: frozenset(words.split()) for language, words in _WORDS.items()
}


def stop_words(language: str) -> frozenset[str]:
    """Those of one language; of all of them together when it is not known."""
    return STOP_WORDS.get(language) or frozenset().union(*STOP_WORDS.values())
