"""Words that name a role, in the languages and styles people use in headers."""

from __future__ import annotations

import re

ROLES = ("user", "item", "value", "event", "time")


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# fmt: off
# role -> words; earlier words are surer. Compared with the header's own words, joined and one by one.
NAMES: dict[str, tuple[str, ...]] = {
    "user": _names("""
        user userid uid usr username visitor visitorid customer customerid client clientid member memberid reviewer reviewerid
        account accountid buyer shopper session sessionid person reader listener viewer player student household cookie device
        author utilisateur benutzer nutzer kunde kundennr usuario cliente utente gebruiker klant kullanici uzytkownik
        пользователь клиент 用户 用户id 会员 客户 使用者 ユーザー 顧客 사용자
    """),
    "item": _names("""
        item itemid iid movie movieid film filmid product productid sku asin isbn book bookid article articleid artist artistid
        song songid track trackid album video videoid anime animeid game gameid app business businessid venue place poi location
        restaurant recipe recipeid course courseid job jobid news newsid stockcode goods goodsid merchant content contentid page
        url ad adid offer hotel show produit artikel produkt articulo producto pelicula prodotto urun товар фильм 商品 商品id 物品 电影
        影片 书籍 作品 アイテム 상품
    """),
    "value": _names("""
        rating ratings stars star score overall grade bookrating plays playcount plays_count listens views clicks count counts
        cnt freq frequency weight qty quantity amount units hours minutes watchtime playtime price revenue total value
        preference note bewertung anzahl menge calificacion puntuacion cantidad voto quantita puan оценка рейтинг количество 评分
        得分 次数 数量 分数 評価 평점
    """),
    "event": _names("""
        event eventtype action actiontype behavior behaviour behaviortype type interaction interactiontype activity verb
        evenement ereignis evento accion действие событие 行为 行为类型 事件 行動
    """),
    "time": _names("""
        timestamp time ts date datetime when day eventtime createdat created updatedat unixtime unixreviewtime reviewtime
        ratedat orderdate invoicedate purchasedate watchedat playedat epoch horodatage datum zeit zeitstempel fecha hora data
        ora tarih дата время 时间 时间戳 日期 日時 日付 날짜 시간
    """),
}
# fmt: on
COUNT_NAMES = re.compile(
    r"play|listen|view|click|count|cnt|freq|qty|quant|units|hours|minutes|time|amount|menge|anzahl|cantidad|количество|次数|数量|weight",
    re.I,
)
PRICE_NAMES = re.compile(r"price|revenue|total|cost|amount_?paid|preis|prix|precio|цена|价格|金额", re.I)
RATING_NAMES = re.compile(
    r"rating|star|score|overall|grade|bewertung|note$|calific|puntu|voto|puan|оценка|рейтинг|评分|得分|分数|評価|평점|preference", re.I
)

EVENT_WEIGHTS: tuple[tuple[str, float], ...] = (
    (r"dislike|skip|remove|refund|return|cancel|unlike|unfav|impression|不感兴趣", 0.0),
    (r"purchase|buy|bought|order|transaction|checkout|paid|kauf|achat|compra|购买|支付|покупк", 5.0),
    (r"cart|basket|warenkorb|panier|加购|购物车|корзин", 3.0),
    (r"fav|wish|like|love|bookmark|save|share|subscribe|follow|收藏|喜欢", 3.0),
    (r"complete|finish|watch|play|listen|read|download|install", 2.0),
    (r"view|click|visit|open|detail|pv|浏览|点击|просмотр", 1.0),
)


def event_weight(event: str) -> float | None:
    """The default weight of an event type, or None when the word is unknown."""
    if event.strip().lower() in ("pv", "fav", "cart", "buy"):
        return {"pv": 1.0, "fav": 3.0, "cart": 3.0, "buy": 5.0}[event.strip().lower()]
    for pattern, weight in EVENT_WEIGHTS:
        if re.search(pattern, event, re.I):
            return weight
    return None


def words(name: str) -> list[str]:
    """'userId' -> ['user', 'id']; 'Customer ID' -> ['customer', 'id']; '用户ID' -> ['用户', 'id']."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[^\x00-\x7f])(?=[A-Za-z])", " ", name)
    return [w for w in re.split(r"[^\w]+|_+", spaced.lower()) if w]


def name_score(name: str, role: str) -> float:
    """0 … 1: how surely a header names a role. 1 for the very word, less when other words stand beside it."""
    own = words(name)
    if not own:
        return 0.0
    known = NAMES[role]
    joined = "".join(own)
    bare = [w for w in own if w not in ("id", "ids", "no", "nr", "num", "number", "code", "key", "index", "idx", "the", "of", "name")]
    if joined in known or "".join(bare) in known:
        exact = joined if joined in known else "".join(bare)
        # "session" beside "user", or "name" beside "id", loses by its place in the list.
        penalty = 0.15 * ("name" in own and "id" not in own) + 0.002 * known.index(exact)
        return 1.0 - penalty
    inside = [w for w in bare if w in known and w not in ("data", "note", "total", "time", "day", "type", "value", "show", "ad", "page")]
    if inside:
        return 0.6 - 0.05 * (len(own) - len(inside)) + (0.1 if "id" in own and role in ("user", "item") else 0)
    return 0.0


def names_role(name: str) -> bool:
    """Does this cell read like a header of any role?"""
    return any(name_score(name, role) >= 0.55 for role in ROLES)
