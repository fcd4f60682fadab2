# De pagina's van de persoon.

heading = Uw e-mails van { $sender }
who = { $sender } schrijft aan { $address }.

list-heading = Deze lijst
list-open = Dit bericht kwam van de lijst ‘{ $list }’.
list-left = U hebt de lijst ‘{ $list }’ verlaten. Er komt niets meer van.
list-leave = Afmelden voor ‘{ $list }’
list-back = Weer aanmelden voor ‘{ $list }’
list-notice = Door op deze knop te drukken stemt u ermee in e-mails van de lijst ‘{ $list }’ van { $sender } te ontvangen op { $address }. U kunt zich op elk moment weer afmelden met de link in elk bericht.

all-heading = Alles van { $sender }
all-open = Alle reclame van { $sender } stoppen, op elke lijst. Berichten over een bestelling of een account vallen hier niet onder.
all-left = { $sender } stuurt geen reclame meer naar { $address }, op geen enkele lijst.
all-leave = Alle reclame van { $sender } stoppen
all-back = Weer reclame van { $sender } ontvangen
all-notice = Door op deze knop te drukken stemt u ermee in reclame-e-mails van { $sender } te ontvangen op { $address } op alle lijsten: { $lists }. U kunt zich op elk moment weer afmelden met de link in elk bericht.

choose-heading = Kiezen per onderwerp
choose-hint = Wat aan staat, mag u worden toegestuurd.
choose-save = Mijn keuzes opslaan

done-heading = Klaar
done-list = { $address } ontvangt geen e-mails van de lijst ‘{ $list }’ van { $sender } meer. Dit geldt vanaf nu.
done-all = { $address } ontvangt geen reclame van { $sender } meer. Dit geldt vanaf nu.
done-choices = Uw keuzes zijn opgeslagen en gelden vanaf nu.
done-list-back = { $address } mag de lijst ‘{ $list }’ van { $sender } weer ontvangen.
done-all-back = { $address } mag weer reclame van { $sender } ontvangen.
mistake = Was dit een vergissing?
more = Alle keuzes bekijken

shut = Dit adres is geblokkeerd om een reden die deze pagina niet kan veranderen. Neem contact op met { $sender }.
shut-heading = Hier niet mogelijk

unknown-heading = Deze link is hier niet bekend
unknown-text = Gebruik de link uit een bericht dat u hebt ontvangen, precies zoals die daar staat.
later-heading = Nog niet vastgelegd
later-text = Uw wens kon op dit moment niet worden vastgelegd. Probeer het over enkele minuten opnieuw.
often-heading = Te veel verzoeken
often-text = Wacht enkele minuten en probeer het opnieuw.
unclear-heading = Dit is niet begrepen
unclear-text = Er is niets veranderd. Open de link uit uw bericht en gebruik de knoppen daar.

contact = Contact
imprint = Juridische informatie
languages = Taal

confirm-subject-list = Graag bevestigen: “{ $list }” van { $sender }
confirm-subject-all = Graag bevestigen: e-mails van { $sender }
confirm-asked-list = Dit adres is ingevuld om de lijst “{ $list }” van { $sender } te ontvangen. Zonder uw bevestiging wordt niets verstuurd.
confirm-asked-all = Dit adres is ingevuld om e-mails van { $sender } te ontvangen. Zonder uw bevestiging wordt niets verstuurd.
confirm-do = Was u dat, open dan deze pagina en druk op de knop:
confirm-not-you = Was u dat niet, dan hoeft u niets te doen. De link werkt { $days } dagen en er komt geen herinnering.
confirm-heading = Nog één stap
confirm-button = Ja, ik wil deze e-mails
confirm-done-list = { $sender } mag u nu de lijst “{ $list }” sturen op { $address }. U kunt die op elk moment verlaten met de link in elk bericht.
confirm-done-all = { $sender } mag u nu e-mails sturen op { $address }. U kunt die op elk moment stoppen met de link in elk bericht.
confirm-expired-heading = Deze link is verlopen
confirm-expired = Er is niets geregistreerd. Wilt u deze e-mails van { $sender } nog steeds, vul uw adres dan opnieuw in.
confirm-left-heading = Niet geregistreerd
confirm-left = Sinds deze link werd verstuurd, heeft dit adres nee gezegd tegen { $sender }, en dat telt. Wilt u deze e-mails, vul uw adres dan opnieuw in.
